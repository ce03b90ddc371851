/** What every PeerLink does; each implementation's test calls this with a way to make connected links. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "../../src/protocol/failure.ts";
import {
  encodeFrame,
  type Frame,
  frameHeaderBytes,
  type MessageKind,
  maxChunkBytes,
  maxMessageBytes,
} from "../../src/protocol/frames.ts";
import { createIdentity, type Identity } from "../../src/protocol/identity.ts";
import type { MinerId } from "../../src/protocol/ids.ts";
import type { PeerLink, PeerMessage } from "../../src/transport/peer-link.ts";

/** In a frame's header, see `frames.ts`. */
const totalBytesOffset = 44;

export interface PeerLinkNetwork {
  connect(self: Identity): Promise<PeerLink>;
  /** A peer that the others know, and that sends whatever it likes. */
  connectHostile(self: Identity): Promise<HostilePeer>;
  /** Takes a connected peer away. */
  lose(peer: Identity): Promise<void>;
  close(): Promise<void>;
}

export interface HostilePeer {
  /** Resolves when the bytes are on their way. */
  send(to: MinerId, bytes: Uint8Array): Promise<void>;
  /** Never again. */
  stopReading(): void;
}

/** Bytes that differ everywhere and can be made again from their seed. */
export function patternBytes(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export function describePeerLink(name: string, openNetwork: () => Promise<PeerLinkNetwork>): void {
  describe(`PeerLink: ${name}`, () => {
    const [aliceIdentity, bobIdentity, carolIdentity] = [createIdentity(), createIdentity(), createIdentity()];
    const malloryIdentity = createIdentity();
    const alice = aliceIdentity.minerId;
    const bob = bobIdentity.minerId;
    const carol = carolIdentity.minerId;
    let network: PeerLinkNetwork;
    let fromAlice: PeerLink;
    let toBob: Inbox;
    beforeEach(async () => {
      network = await openNetwork();
      fromAlice = await network.connect(aliceIdentity);
      toBob = new Inbox(await network.connect(bobIdentity));
    });
    afterEach(() => network.close());

    it("delivers messages of any size complete, unchanged and with their sender", async () => {
      for (const length of [0, 1, maxChunkBytes, 3 * maxChunkBytes + 5]) {
        const body = patternBytes(length, length);
        await fromAlice.send(bob, "forward", body);
        const message = await toBob.next();
        expect(message.from).toBe(alice);
        expect(message.kind).toBe("forward");
        expect(Buffer.from(message.body).equals(body)).toBe(true);
      }
    });

    it("keeps the order of sending within one kind", async () => {
      const bodies = Array.from({ length: 20 }, (_, index) => patternBytes(1 + index * 40_000, index));
      await Promise.all(bodies.map((body) => fromAlice.send(bob, "backward", body)));
      for (const body of bodies) expect((await toBob.next()).body.length).toBe(body.length);
    });

    it("lets what is more urgent overtake", async () => {
      const kinds: MessageKind[] = ["blob-part", "blob-part", "forward", "forward", "backward", "flush", "answer"];
      await Promise.all(kinds.map((kind) => fromAlice.send(bob, kind, patternBytes(6 * maxChunkBytes, 1))));
      const arrived: MessageKind[] = [];
      while (arrived.length < kinds.length) arrived.push((await toBob.next()).kind);
      // The first may have left before there was anything more urgent.
      const urgent = arrived.filter((kind) => kind !== "forward" && kind !== "blob-part");
      expect(urgent).toEqual(["answer", "flush", "backward"]);
      expect(arrived.at(-1)).toBe("blob-part");
      expect(arrived.indexOf("answer")).toBeLessThan(arrived.lastIndexOf("forward"));
    });

    it("keeps senders apart", async () => {
      const fromCarol = await network.connect(carolIdentity);
      await Promise.all([
        fromAlice.send(bob, "forward", patternBytes(2 * maxChunkBytes, 1)),
        fromCarol.send(bob, "forward", patternBytes(2 * maxChunkBytes, 2)),
      ]);
      const messages = [await toBob.next(), await toBob.next()];
      for (const message of messages)
        expect(Buffer.from(message.body).equals(patternBytes(2 * maxChunkBytes, message.from === alice ? 1 : 2))).toBe(
          true,
        );
      expect(new Set(messages.map((message) => message.from))).toEqual(new Set([alice, carol]));
    });

    it("takes no harm from a peer whose frames are truncated, too large, out of order or repeated", async () => {
      const mallory = await network.connectHostile(malloryIdentity);
      const body = patternBytes(100, 9);
      for (const bytes of hostileFrames(bob, body)) {
        await mallory.send(bob, bytes);
        await fromAlice.send(bob, "forward", body);
        const messages = [await toBob.next()];
        if (messages[0]?.from !== alice) messages.push(await toBob.next());
        expect(messages.map(({ from }) => from)).toContain(alice);
        for (const message of messages) expect(Buffer.from(message.body).equals(body)).toBe(true);
      }
    });

    it("goes on beside a peer that never reads", async () => {
      const mallory = await network.connectHostile(malloryIdentity);
      mallory.stopReading();
      const fromCarol = await network.connect(carolIdentity);
      const unread = Array.from({ length: 24 }, () =>
        fromAlice.send(malloryIdentity.minerId, "forward", patternBytes(maxChunkBytes, 1)).catch(() => undefined),
      );
      for (const length of [10, 3 * maxChunkBytes]) {
        await fromCarol.send(bob, "forward", patternBytes(length, 2));
        const { from, body } = await toBob.next();
        expect(from).toBe(carol);
        expect(body.length).toBe(length);
      }
      fromAlice.close();
      await Promise.all(unread);
    });

    it("says so when a peer is gone", async () => {
      const lost = new Promise<MinerId>((resolve) => fromAlice.onPeerLost(resolve));
      await network.lose(bobIdentity);
      // Either answer is right: the link may know at once, or learn of it from the gateway.
      const code = await fromAlice.send(bob, "forward", patternBytes(10, 1)).then(
        () => "taken",
        (error) => failureOf(error)?.code,
      );
      expect(["taken", "unreachable"]).toContain(code);
      expect(await lost).toBe(bob);
    });

    it("sees a peer that came back as a new sender", async () => {
      await fromAlice.send(bob, "forward", patternBytes(10, 1));
      await toBob.next();
      await network.lose(aliceIdentity);
      const again = await network.connect(aliceIdentity);
      await again.send(bob, "forward", patternBytes(20, 2));
      expect((await toBob.next()).body.length).toBe(20);
    });

    it("refuses what is too large, cancelled, or sent after closing", async () => {
      const codeOf = (sent: Promise<void>) =>
        sent.then(
          () => "sent",
          (error) => failureOf(error)?.code,
        );
      expect(await codeOf(fromAlice.send(bob, "forward", new Uint8Array(maxMessageBytes + 1)))).toBe(
        "message-too-large",
      );
      const signal = AbortSignal.abort();
      expect(await codeOf(fromAlice.send(bob, "forward", new Uint8Array(1), { signal }))).toBe("cancelled");
      fromAlice.close();
      expect(await codeOf(fromAlice.send(bob, "forward", new Uint8Array(1)))).toBe("unreachable");
    });

    it("counts the bytes", async () => {
      await fromAlice.send(bob, "forward", patternBytes(100_000, 1));
      await toBob.next();
      expect(fromAlice.traffic.sentBytes).toBeGreaterThanOrEqual(100_000);
      expect(toBob.link.traffic.receivedBytes).toBe(fromAlice.traffic.sentBytes);
    });
  });
}

/** Among them one message that is in order, so that there is something to repeat. */
function hostileFrames(peer: MinerId, body: Uint8Array): readonly Uint8Array[] {
  const frame = (part: Partial<Frame>) =>
    encodeFrame({ kind: "forward", peer, messageNumber: 7, totalBytes: body.length, offset: 0, chunk: body, ...part });
  const complete = frame({});
  const tooLarge = Buffer.from(complete);
  tooLarge.writeUInt32LE(0xffffffff, totalBytesOffset);
  return [
    complete,
    complete,
    complete.subarray(0, frameHeaderBytes),
    complete.subarray(0, frameHeaderBytes / 2),
    tooLarge,
    frame({ messageNumber: 8, totalBytes: 2 * body.length }),
    frame({ messageNumber: 8, totalBytes: 4 * body.length, offset: 3 * body.length }),
    frame({ messageNumber: 8, totalBytes: 2 * body.length, offset: body.length }),
    frame({ messageNumber: 9, totalBytes: 2 * body.length, offset: body.length }),
    frame({ messageNumber: 10, totalBytes: maxMessageBytes }),
    frame({ messageNumber: 6 }),
    Buffer.from("no frame at all"),
  ];
}

class Inbox {
  readonly link: PeerLink;
  readonly #messages: PeerMessage[] = [];
  readonly #waiting: ((message: PeerMessage) => void)[] = [];
  constructor(link: PeerLink) {
    this.link = link;
    link.onMessage((message) => {
      const waiting = this.#waiting.shift();
      if (waiting) waiting(message);
      else this.#messages.push(message);
    });
  }

  next(): Promise<PeerMessage> {
    const message = this.#messages.shift();
    return message ? Promise.resolve(message) : new Promise((resolve) => this.#waiting.push(resolve));
  }
}
