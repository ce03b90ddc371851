import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { FakeClock } from "../../miner/session/fake-clock.ts";
import { failureOf } from "../../protocol/failure.ts";
import {
  encodeFrame,
  frameHeaderBytes,
  type MessageKind,
  maxChunkBytes,
  maxMessageBytes,
} from "../../protocol/frames.ts";
import { createIdentity } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { encodePathMessage } from "../../protocol/path-messages.ts";
import { type AddressedMessage, MemoryNetwork } from "../memory-link.ts";
import type { PeerLink } from "../peer-link.ts";
import { ByteBudget } from "../traffic/byte-budget.ts";
import { DirectLink } from "./direct-link.ts";
import { FakeDirectNetwork } from "./fake-dialer.ts";

const chunkBytes = 100;

/** Two miners, the one that dials first, between a gateway and a network of direct connections that the test steers. */
class World {
  readonly clock = new FakeClock();
  readonly gateway = new MemoryNetwork();
  readonly direct = new FakeDirectNetwork();
  /** At the gateway, in order, while `isGatewaySlow`. */
  readonly atGateway: AddressedMessage[] = [];
  isGatewaySlow = false;
  /** What each link to the gateway has not taken yet, while `isUplinkSlow`; what is most urgent goes ahead of it. */
  readonly inUplink: (() => void)[] = [];
  isUplinkSlow = false;
  readonly ids: readonly [MinerId, MinerId];
  readonly downloads = [new ByteBudget(this.clock), new ByteBudget(this.clock)] as const;
  readonly links: readonly [DirectLink, DirectLink];
  readonly arrived: readonly [Arrival[], Arrival[]] = [[], []];
  readonly cameDirectly: readonly [boolean[], boolean[]] = [[], []];
  readonly lost: MinerId[] = [];
  /** Of both, the kinds of those that were sent directly. */
  readonly directFrames: MessageKind[] = [];

  constructor() {
    const [one = createIdentity().minerId, other = one] = [
      createIdentity().minerId,
      createIdentity().minerId,
    ].toSorted();
    this.ids = [one, other];
    this.gateway.fate = (message) => {
      if (!this.isGatewaySlow) return "deliver";
      this.atGateway.push(message);
      return "hold";
    };
    this.links = [this.#open(0), this.#open(1)];
    for (const link of this.links) link.admit(new Set(this.ids));
  }

  #open(index: 0 | 1): DirectLink {
    const self = this.ids[index];
    const link = new DirectLink({
      self,
      relay: this.#uplink(this.gateway.link(self)),
      dialer: this.direct.dialer(self),
      traffic: {
        chunkBytes,
        maxBufferedBytes: 4 * chunkBytes,
        upload: new ByteBudget(this.clock),
        download: this.downloads[index],
        watch: () => {},
        wroteFrame: (kind) => this.directFrames.push(kind),
        framesWait: () => {},
        link: { stored: () => {} },
      },
      clock: this.clock,
      log: () => {},
      dropped: () => {},
    });
    link.onMessage(({ kind, body, isDirect = false }) => {
      this.arrived[index].push({ kind, text: Buffer.from(body).toString() });
      this.cameDirectly[index].push(isDirect);
    });
    link.onPeerLost((peer) => this.lost.push(peer));
    return link;
  }

  #uplink(relay: PeerLink): PeerLink {
    return {
      traffic: relay.traffic,
      onMessage: (handler) => relay.onMessage(handler),
      onPeerLost: (handler) => relay.onPeerLost(handler),
      close: () => relay.close(),
      send: async (to, kind, body, options) => {
        if (this.isUplinkSlow && kind !== "path") await new Promise<void>((taken) => this.inUplink.push(taken));
        return relay.send(to, kind, body, options);
      },
    };
  }

  send(from: 0 | 1, kind: MessageKind, text: string, signal?: AbortSignal): Promise<void> {
    const to = this.ids[from === 0 ? 1 : 0];
    return this.links[from].send(to, kind, Buffer.from(text), { signal });
  }

  get ways(): readonly (string | undefined)[] {
    return this.links.map(({ ways }) => ways[0]?.way);
  }

  /** The oldest message at the gateway goes on. */
  passOn(): boolean {
    const next = this.atGateway.shift();
    this.gateway.release((message) => message === next);
    return next !== undefined;
  }

  /** All that is under way arrives, and what follows from it. */
  async settle(): Promise<void> {
    let quiet = 0;
    while (quiet < 5) {
      await setImmediate();
      const moved = [
        this.passOn(),
        this.inUplink.splice(0, 1).map((taken) => taken()).length > 0,
        ...this.direct.connections.flatMap((connection) => [connection.deliver(0), connection.deliver(1)]),
      ];
      quiet = moved.some(Boolean) ? 0 : quiet + 1;
    }
  }

  /** What was written to connections arrives, while the gateway passes on nothing. */
  async deliverDirect(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) {
      await setImmediate();
      for (const connection of this.direct.connections) {
        connection.deliver(0);
        connection.deliver(1);
      }
    }
  }

  async meet(): Promise<void> {
    await this.send(0, "answer", "hello");
    await this.settle();
    this.arrived[1].length = 0;
  }
}

interface Arrival {
  readonly kind: MessageKind;
  readonly text: string;
}

const textsOf = (arrivals: readonly Arrival[], kind: MessageKind) =>
  arrivals.filter((arrival) => arrival.kind === kind).map(({ text }) => text);

/** mulberry32: a failing schedule is repeated by its seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("a link with direct connections", () => {
  it("sends over the gateway at once, and directly as soon as both ends can", async () => {
    const world = new World();
    await world.send(0, "forward", "first");
    await setImmediate();
    expect(textsOf(world.arrived[1], "forward")).toEqual(["first"]);
    expect(world.ways[0]).toBe("relayed");
    await world.settle();
    expect(world.ways).toEqual(["direct", "direct"]);
    world.gateway.fate = () => "drop";
    await world.send(0, "forward", "second");
    await world.send(1, "backward", "third");
    await world.settle();
    expect(textsOf(world.arrived[1], "forward")).toEqual(["first", "second"]);
    expect(textsOf(world.arrived[0], "backward")).toEqual(["third"]);
    expect(world.cameDirectly[1]).toEqual([false, true]);
    expect(world.links[0].ways[0]?.roundTripMs).toBe(7);
    expect(world.directFrames).toEqual(["forward", "backward"]);
  });

  it("holds what follows until what went over a slow gateway has come", async () => {
    const world = new World();
    world.isGatewaySlow = true;
    await world.send(0, "forward", "over the gateway");
    // Direct messages are quick here, and the gateway passes on nothing yet.
    const later = world.send(0, "forward", "afterwards");
    await world.deliverDirect();
    expect(world.arrived[1]).toEqual([]);
    await world.settle();
    await later;
    expect(textsOf(world.arrived[1], "forward")).toEqual(["over the gateway", "afterwards"]);
  });

  it("holds what follows until the link to the gateway has taken what came before", async () => {
    const world = new World();
    world.isUplinkSlow = true;
    const first = world.send(0, "forward", "slowly");
    await world.deliverDirect();
    const second = world.send(0, "forward", "afterwards");
    await world.deliverDirect();
    expect(world.arrived[1]).toEqual([]);
    await world.settle();
    await Promise.all([first, second]);
    expect(textsOf(world.arrived[1], "forward")).toEqual(["slowly", "afterwards"]);
    expect(world.ways[0]).toBe("direct");
  });

  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    "delivers each message once and in order, whenever connections come and go (seed %i)",
    async (seed) => {
      const random = randomFrom(seed);
      const world = new World();
      world.isGatewaySlow = true;
      const kinds: readonly MessageKind[] = ["answer", "forward", "blob-part"];
      const sent: readonly [Arrival[], Arrival[]] = [[], []];
      const sending: Promise<void>[] = [];
      for (let step = 0; step < 300; step++) {
        const end = random() < 0.5 ? 0 : 1;
        const choice = random();
        const connection = world.direct.connections[Math.floor(random() * world.direct.connections.length)];
        if (choice < 0.3) {
          const kind = kinds[Math.floor(random() * kinds.length)] ?? "forward";
          const text = `${step} ${"x".repeat(Math.floor(random() * 5 * chunkBytes))}`;
          sent[end].push({ kind, text });
          sending.push(world.send(end, kind, text));
        } else if (choice < 0.5) world.passOn();
        else if (choice < 0.9) {
          for (let writes = random() * 8; writes > 0; writes--) connection?.deliver(end);
        } else if (choice < 0.93) connection?.break(end);
        else if (choice < 0.96) world.clock.advance(500);
        else world.direct.isStuck = random() < 0.5;
        await setImmediate();
      }
      // Those of a broken connection that has been noticed at one end only notice it at the other.
      for (let turn = 0; turn < 30; turn++) {
        await world.settle();
        world.clock.advance(1000);
      }
      await Promise.all(sending);
      for (const kind of kinds) {
        expect(textsOf(world.arrived[1], kind)).toEqual(textsOf(sent[0], kind));
        expect(textsOf(world.arrived[0], kind)).toEqual(textsOf(sent[1], kind));
      }
      expect(world.lost).toEqual([]);
    },
  );

  it("stays with the gateway where no connection can be made, and tries again now and then", async () => {
    const world = new World();
    world.direct.isOpen = false;
    await world.meet();
    expect(world.ways).toEqual(["relayed", "relayed"]);
    world.direct.isOpen = true;
    world.clock.advance(1000);
    await world.settle();
    expect(world.ways).toEqual(["direct", "direct"]);
  });

  it.each([
    [7, 3000],
    [500, 5000],
    [60_000, 10_000],
  ])(
    "goes over the gateway when nothing is heard of a peer that owes an answer, %i ms away, for %i ms",
    async (roundTripMs, silenceMs) => {
      const world = new World();
      await world.meet();
      const [connection] = world.direct.connections;
      for (const { rawStream } of connection?.ends ?? []) rawStream.rtt = roundTripMs;
      await world.send(0, "forward", "into the void");
      world.direct.isOpen = false;
      if (connection !== undefined) connection.ends[0].written.length = 0;
      world.clock.advance(silenceMs - 500);
      expect(world.ways[0]).toBe("direct");
      world.clock.advance(1000);
      await world.settle();
      expect(textsOf(world.arrived[1], "forward")).toEqual(["into the void"]);
      expect(world.ways[0]).toBe("relayed");
    },
  );

  it("withdraws what is cancelled while it is held", async () => {
    const world = new World();
    world.isGatewaySlow = true;
    await world.send(0, "forward", "first");
    await world.deliverDirect();
    const abort = new AbortController();
    const sending = world.send(0, "forward", "never", abort.signal);
    abort.abort();
    await expect(sending).rejects.toSatisfy((error) => failureOf(error)?.code === "cancelled");
    await world.settle();
    expect(textsOf(world.arrived[1], "forward")).toEqual(["first"]);
  });

  it("accepts no connection of whom it was not told, and ends those of who has left", async () => {
    const world = new World();
    world.links[1].admit(new Set());
    await world.meet();
    expect(world.direct.connections).toEqual([]);
    world.links[1].admit(new Set(world.ids));
    world.clock.advance(1000);
    await world.settle();
    expect(world.ways).toEqual(["direct", "direct"]);
    world.links[1].admit(new Set());
    await world.settle();
    expect(world.ways[1]).toBeUndefined();
    expect(world.direct.connections[0]?.ends[1].destroyed).toBe(true);
  });

  it.each([
    ["noise", () => Buffer.from("no message at all")],
    ["half a header", () => Buffer.from("TAH1")],
    ["a claim to have got what was never sent", () => encodePathMessage({ type: "granted", bytes: 1, messages: 1000 })],
    [
      "a frame of an impossible size",
      () => {
        const frame = Buffer.from(
          encodeFrame({
            kind: "forward",
            peer: createIdentity().minerId,
            messageNumber: 1,
            totalBytes: 8,
            offset: 0,
            chunk: new Uint8Array(8),
          }),
        );
        frame.writeUInt32LE(2 ** 32 - 1, 44);
        return frame;
      },
    ],
  ])("cuts off a peer that sends %s", async (_, bytes) => {
    const world = new World();
    await world.meet();
    const [connection] = world.direct.connections;
    connection?.ends[1].emit("data", bytes());
    expect(connection?.ends[1].destroyed).toBe(true);
    connection?.break(0);
    await world.settle();
    await world.send(0, "forward", "all the same");
    await world.settle();
    expect(textsOf(world.arrived[1], "forward")).toEqual(["all the same"]);
  });

  it("makes no connection for a minute with a peer that has sent what it must not", async () => {
    const world = new World();
    await world.meet();
    world.direct.connections[0]?.ends[1].emit("data", Buffer.from("garbage"));
    const pass = async (seconds: number) => {
      for (let second = 0; second < seconds; second++) {
        world.clock.advance(1000);
        await world.settle();
      }
    };
    world.direct.connections[0]?.break(0);
    await pass(59);
    expect(world.ways).toEqual(["relayed", "relayed"]);
    await pass(60);
    expect(world.ways).toEqual(["direct", "direct"]);
  });

  it("does not hold it against a peer that there was no room for its messages", async () => {
    const world = new World();
    await world.meet();
    const stream = world.direct.connections[0]?.ends[1];
    const chunk = new Uint8Array(maxChunkBytes);
    const kinds = ["forward", "exchange", "blob-part"] as const;
    const totalBytes = maxMessageBytes;
    for (const [messageNumber, kind] of kinds.entries()) {
      // One buffer for all chunks of a message: as many of their own would take as much memory as there must not be.
      const frame = Buffer.from(encodeFrame({ kind, peer: world.ids[0], messageNumber, totalBytes, offset: 0, chunk }));
      for (let offset = 0; offset < totalBytes - chunk.length; offset += chunk.length) {
        frame.writeUInt32LE(offset, frameHeaderBytes - 4);
        stream?.emit("data", frame);
        await world.settle();
      }
    }
    expect(stream?.destroyed).toBe(true);
    world.direct.connections[0]?.break(0);
    for (let second = 0; second < 3; second++) {
      world.clock.advance(1000);
      await world.settle();
    }
    expect(world.ways).toEqual(["direct", "direct"]);
  });

  it("grants no more than its owner lets it receive", async () => {
    const world = new World();
    const bytesPerSecond = 200_000;
    world.downloads[1].setRate(bytesPerSecond);
    await world.meet();
    const before = world.links[1].traffic.receivedBytes;
    const sending = Array.from({ length: 50 }, () => world.send(0, "blob-part", "x".repeat(20_000)));
    const seconds = 2;
    for (let step = 0; step < 10 * seconds; step++) {
      await world.settle();
      world.clock.advance(100);
    }
    const received = world.links[1].traffic.receivedBytes - before;
    const [windowBytes, gatheredBytes] = [128 << 10, 64 << 10];
    expect(received).toBeLessThan(seconds * bytesPerSecond + windowBytes + gatheredBytes);
    expect(received).toBeGreaterThan(0.5 * seconds * bytesPerSecond);
    world.links[0].close();
    await Promise.allSettled(sending);
  });

  it("cuts off a peer that sends more than it was granted", async () => {
    const world = new World();
    await world.meet();
    const [connection] = world.direct.connections;
    const stream = connection?.ends[1];
    const chunk = new Uint8Array(1 << 20);
    const frame = (messageNumber: number) =>
      Buffer.from(
        encodeFrame({
          kind: "blob-part",
          peer: world.ids[0],
          messageNumber,
          totalBytes: chunk.length,
          offset: 0,
          chunk,
        }),
      );
    // All in one turn, in which nothing can be granted.
    let sent = 0;
    while (stream?.destroyed === false && sent < 100) stream.emit("data", frame(sent++));
    expect(sent).toBeLessThan(12);
  });
});
