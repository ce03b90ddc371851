/** Peers with real sessions at a real gateway, in one process. Nobody trains: all stay on the roster of a first epoch. */

import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { systemClock } from "../../src/miner/session/clock.ts";
import { Session } from "../../src/miner/session/session.ts";
import { serveNetwork } from "../../src/network/serve.ts";
import type { DeviceReport } from "../../src/protocol/device-report.ts";
import type { Identity } from "../../src/protocol/identity.ts";
import type { FrameLink } from "../../src/transport/frame-link.ts";
import type { PeerLink } from "../../src/transport/peer-link.ts";
import { Traffic } from "../../src/transport/traffic/traffic.ts";
import type { PeerLinkNetwork } from "./peer-link.ts";

const device: DeviceReport = {
  platform: "test",
  cpu: "test",
  cores: 1,
  memoryBytes: 1 << 30,
  memoryLimitBytes: 1 << 30,
  maximumStages: 64,
  backend: "reference",
  precision: "f32",
  adapter: null,
  blockTokensPerSecond: null,
};

export async function openGatewayNetwork(): Promise<PeerLinkNetwork> {
  const stateFolder = await mkdtemp(join(tmpdir(), "peer-link-"));
  const network = await serveNetwork({
    run: { preset: "tiny", stages: 1, replicas: 1 },
    port: 0,
    stateFolder,
    evaluator: null,
    log: () => {},
  });
  const sessions = new Map<string, Session>();

  /** Resolves when the peer has a place in the epoch: only then its messages are passed on. */
  function connect(identity: Identity, traffic = new Traffic(systemClock)): Promise<PeerLink> {
    const { promise, resolve } = Promise.withResolvers<PeerLink>();
    let link: FrameLink | null = null;
    const session = new Session(
      {
        url: network.url,
        credentials: { identity, name: "peer", role: "miner" },
        clock: systemClock,
        traffic,
        log: () => {},
      },
      {
        opened: (opened) => {
          link = opened;
          session.send({ type: "join", device, held: [] });
        },
        message: (message) => {
          if (message.type === "prepare" && link !== null) resolve(link);
        },
        lost: () => {},
      },
    );
    sessions.set(identity.minerId, session);
    session.open();
    return promise;
  }

  return {
    connect: (identity) => connect(identity),
    async connectHostile(identity) {
      const traffic = new OpenTraffic(systemClock);
      await connect(identity, traffic);
      const { line } = traffic;
      if (line === null) throw new Error("there is no session");
      return {
        async send(_, bytes) {
          line.write(unmasked(bytes));
        },
        stopReading() {
          line.pause();
        },
      };
    },
    async lose({ minerId }) {
      sessions.get(minerId)?.close();
      const isAway = () => [...network.states.values()].some(({ away }) => away.some((one) => one.minerId === minerId));
      while (!isAway()) await setImmediate();
    },
    async close() {
      for (const session of sessions.values()) session.close();
      await network.close();
      await rm(stateFolder, { recursive: true });
    },
  };
}

/** Gives away the line under the session, past all that makes a miner honest. */
class OpenTraffic extends Traffic {
  line: Socket | null = null;

  override watch(socket: Socket): void {
    this.line = socket;
    super.watch(socket);
  }
}

/** A binary WebSocket message with a mask that changes nothing (RFC 6455, 5.2). */
function unmasked(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 0x82;
  head[1] = 0x80 | 126;
  head.writeUInt16BE(bytes.length, 2);
  return Buffer.concat([head, bytes]);
}
