/**
 * One end of a link between miners: a session with a place in an epoch that never begins, which is taken up again when it is lost. It
 * sends what its parent asks for, counts what comes, and returns each `answer` to whoever sent it.
 */

import { measureLine } from "../../../src/miner/line/measure-line.ts";
import { systemClock } from "../../../src/miner/session/clock.ts";
import { Session } from "../../../src/miner/session/session.ts";
import { createIdentity } from "../../../src/protocol/identity.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import { expectLargeBuffers } from "../../../src/protocol/large-buffers.ts";
import type { LineView } from "../../../src/protocol/line-view.ts";
import { DirectLink } from "../../../src/transport/direct/direct-link.ts";
import { DirectNode } from "../../../src/transport/direct/direct-node.ts";
import { Traffic, type TrafficTotals } from "../../../src/transport/traffic/traffic.ts";
import { idleDevice } from "./idle-device.ts";
import { Echoes, type Sent, sendFor } from "./send-for.ts";

export interface EndCalls {
  /** Resolves when the end has its place. */
  open(options: { readonly networkUrl: string; readonly link: "relay" | "direct" }): MinerId;
  /** Exchanges messages with that peer until they go directly, or for so long. */
  meet(options: { readonly peer: MinerId; readonly withinMs: number }): Met;
  /** How the line to the network is found to be, without its rates. */
  line(options: { readonly networkUrl: string }): Pick<LineView, "way" | "udp">;
  send(options: { readonly to: MinerId; readonly seconds: number }): Sent;
  /** That have come since the last call, of bulk messages. */
  receivedBytes(): number;
  /** That this process has used so far. */
  processorSeconds(): number;
  /** What a miner would show of its traffic. */
  traffic(): TrafficTotals;
}

export interface Met {
  /** Until the first message had gone and come back, whatever way. */
  readonly firstByteMs: number;
  /** Until messages went directly; null: they do not. */
  readonly directAfterMs: number | null;
}

export interface EndRequest {
  readonly id: number;
  readonly call: keyof EndCalls;
  readonly argument: unknown;
}

expectLargeBuffers();
const pollMs = 5;
const repeatMs = 200;
const identity = createIdentity();
const traffic = new Traffic(systemClock);
let link: DirectLink | undefined;
let met: MinerId | undefined;
let receivedBytes = 0;
const echoes = new Echoes();
let wanted: "relay" | "direct" = "relay";

function opened(): DirectLink {
  if (link === undefined) throw new Error("open comes first");
  return link;
}

/** Resolves when something has come back; what is lost, or finds no place at the gateway yet, is sent again. */
async function firstEcho(peer: MinerId): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const send = () => {
    // A link that is gone meanwhile has another one after it.
    if (link !== undefined)
      echoes.send(link, peer).then(
        () => resolve(),
        () => undefined,
      );
  };
  send();
  const repeating = setInterval(send, repeatMs);
  await promise;
  clearInterval(repeating);
}

const calls: { readonly [Call in keyof EndCalls]: (argument: never) => Promise<ReturnType<EndCalls[Call]>> } = {
  open({ networkUrl, link: asked }: Parameters<EndCalls["open"]>[0]) {
    const { promise, resolve } = Promise.withResolvers<MinerId>();
    const { minerId } = identity;
    const log = () => {};
    wanted = asked;
    const session = new Session(
      { url: networkUrl, credentials: { identity, name: "end", role: "miner" }, clock: systemClock, traffic, log },
      {
        opened(relay, { bootstrap }) {
          const dialer = asked === "direct" ? new DirectNode({ identity, bootstrap, log }) : null;
          link = new DirectLink({ self: minerId, relay, dialer, traffic, clock: systemClock, log, dropped: log });
          link.onMessage(({ from, kind, body }) => {
            if (kind === "forward") receivedBytes += body.length;
            // What comes back with another kind is this end's own.
            if (kind === "answer") void link?.send(from, "flush", body);
            if (kind === "flush") echoes.returned(body);
          });
          if (met !== undefined) link.admit(new Set([met]));
          session.send({ type: "join", device: idleDevice, held: [] });
        },
        message: ({ type }) => {
          if (type === "prepare") resolve(minerId);
        },
        lost() {
          link?.close();
          link = undefined;
        },
      },
    );
    session.open();
    return promise;
  },

  async meet({ peer, withinMs }: Parameters<EndCalls["meet"]>[0]) {
    const beganAtMs = performance.now();
    const elapsedMs = () => performance.now() - beganAtMs;
    const isDirect = () => link?.ways.some(({ minerId, way }) => minerId === peer && way === "direct") === true;
    met = peer;
    link?.admit(new Set([peer]));
    await Promise.race([firstEcho(peer), new Promise((resolve) => setTimeout(resolve, withinMs))]);
    const firstByteMs = elapsedMs();
    while (wanted === "direct" && !isDirect() && elapsedMs() < withinMs)
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    return { firstByteMs, directAfterMs: isDirect() ? elapsedMs() : null };
  },

  line: ({ networkUrl }: Parameters<EndCalls["line"]>[0]) =>
    measureLine({
      network: networkUrl,
      limits: { upload: null, download: null },
      withoutRates: "not-asked",
      direct: true,
      onProgress: () => {},
      signal: new AbortController().signal,
    }),

  send: ({ to, seconds }: Parameters<EndCalls["send"]>[0]) => sendFor(opened(), to, seconds, echoes),

  async receivedBytes() {
    const bytes = receivedBytes;
    receivedBytes = 0;
    return bytes;
  },

  traffic: async () => traffic.totals,

  async processorSeconds() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
};

process.on("message", async ({ id, call, argument }: EndRequest) => {
  process.send?.({ id, result: await calls[call](argument as never) });
});
process.once("disconnect", () => process.exit(0));
