/**
 * One end of a link under measurement: a miner's session with a place in an epoch that never begins. It sends what its parent asks for,
 * counts what comes, and returns each `answer` to whoever sent it.
 */
import { systemClock } from "../../../src/miner/session/clock.ts";
import { Session } from "../../../src/miner/session/session.ts";
import { createIdentity } from "../../../src/protocol/identity.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import { encodePathMessage } from "../../../src/protocol/path-messages.ts";
import { DirectLink } from "../../../src/transport/direct/direct-link.ts";
import { DirectNode } from "../../../src/transport/direct/direct-node.ts";
import { Traffic } from "../../../src/transport/traffic/traffic.ts";
import { benchDevice } from "./bench-device.ts";
import { type Sent, sendFor } from "./send-for.ts";

export interface EndCalls {
  /** Resolves when the end has its place. */
  open(options: { readonly networkUrl: string; readonly link: "relay" | "direct" }): MinerId;
  /** Resolves, with how long it took, once messages to that peer take the way that is to be measured. */
  meet(peer: MinerId): number;
  send(options: { readonly to: MinerId; readonly seconds: number }): Sent;
  /** That have come since the last call, of bulk messages. */
  receivedBytes(): number;
  /** That this process has used so far. */
  processorSeconds(): number;
}

export interface EndRequest {
  readonly id: number;
  readonly call: keyof EndCalls;
  readonly argument: unknown;
}

const pollMs = 5;
const identity = createIdentity();
const traffic = new Traffic(systemClock);
let link: DirectLink | undefined;
let wanted: "relay" | "direct" = "relay";
let receivedBytes = 0;
let echoed: () => void = () => {};

function opened(): DirectLink {
  if (link === undefined) throw new Error("open comes first");
  return link;
}

const calls: { readonly [Call in keyof EndCalls]: (argument: never) => Promise<ReturnType<EndCalls[Call]>> } = {
  open({ networkUrl, link: asked }: Parameters<EndCalls["open"]>[0]) {
    const { promise, resolve } = Promise.withResolvers<MinerId>();
    const { minerId } = identity;
    const log = () => {};
    wanted = asked;
    const session = new Session(
      { url: networkUrl, credentials: { identity, name: "bench", role: "miner" }, clock: systemClock, traffic, log },
      {
        opened(relay, { bootstrap }) {
          const dialer = wanted === "direct" ? new DirectNode({ identity, bootstrap, log }) : null;
          link = new DirectLink({ self: minerId, relay, dialer, traffic, clock: systemClock, log });
          link.onMessage(({ from, kind, body }) => {
            if (kind === "forward") receivedBytes += body.length;
            // What comes back with another kind is this end's own.
            if (kind === "answer") void link?.send(from, "flush", body);
            if (kind === "flush") echoed();
          });
          session.send({ type: "join", device: benchDevice, held: [] });
        },
        message: ({ type }) => {
          if (type === "prepare") resolve(minerId);
        },
        lost: ({ message }) => process.stderr.write(`${message}\n`),
      },
    );
    session.open();
    return promise;
  },

  async meet(peer: MinerId) {
    const beganAtMs = performance.now();
    const link = opened();
    link.admit(new Set([peer]));
    const word = encodePathMessage({ type: "received", connection: "0".repeat(16), messages: null });
    const isThere = () =>
      wanted === "relay" || link.ways.some(({ minerId, way }) => minerId === peer && way === "direct");
    while (!isThere()) {
      await link.send(peer, "path", word);
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    return performance.now() - beganAtMs;
  },

  send: ({ to, seconds }: Parameters<EndCalls["send"]>[0]) =>
    sendFor(opened(), to, seconds, (handler) => {
      echoed = handler;
    }),

  async receivedBytes() {
    const bytes = receivedBytes;
    receivedBytes = 0;
    return bytes;
  },

  async processorSeconds() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
};

process.on("message", async ({ id, call, argument }: EndRequest) => {
  process.send?.({ id, result: await calls[call](argument as never) });
});
process.once("disconnect", () => process.exit(0));
