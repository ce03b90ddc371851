import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeClock } from "../miner/session/fake-clock.ts";
import { FailureError, failureOf } from "../protocol/failure.ts";
import { hashBytes } from "../protocol/identity.ts";
import { type BlobRef, type MinerId, minerIdSchema } from "../protocol/ids.ts";
import {
  type BlobPart,
  blobPartSchema,
  blobRequestSchema,
  decodeBody,
  encodeBody,
} from "../protocol/merge-messages.ts";
import { maxPartBytes } from "./blob-serving.ts";
import { type Fate, MemoryNetwork } from "./memory-link.ts";
import { PeerBlobs } from "./peer-blobs.ts";
import type { PeerLink } from "./peer-link.ts";

const seed = 20_261_126;

interface Peer {
  readonly id: MinerId;
  readonly blobs: PeerBlobs;
  readonly link: PeerLink;
  readonly dropped: string[];
}

class World {
  readonly network = new MemoryNetwork();
  readonly clock = new FakeClock();
  #peers = 0;

  peer(): Peer {
    this.#peers += 1;
    const id = minerIdSchema.parse(this.#peers.toString(16).padStart(64, "0"));
    const dropped: string[] = [];
    const blobs = new PeerBlobs({ clock: this.clock, dropped: (_, { failure }) => dropped.push(failure.code) });
    const peer = { id, blobs, link: this.network.link(id), dropped };
    this.connect(peer, peer.link);
    return peer;
  }

  connect({ blobs }: Peer, link: PeerLink): void {
    link.onMessage((message) => blobs.receive(message));
    link.onPeerLost((lost) => blobs.peerLost(lost));
    blobs.connected(link);
  }

  /** Lets time pass, whenever nothing else happens, until the promise is settled. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let pending = true;
    const end = () => {
      pending = false;
    };
    promise.then(end, end);
    while (pending) {
      await this.turns(20);
      this.clock.advance(100);
    }
    return promise;
  }

  async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  codeOf(promise: Promise<unknown>): Promise<string | undefined> {
    return this.settled(
      promise.then(
        () => undefined,
        (error) => failureOf(error)?.code,
      ),
    );
  }
}

function blobOf(bytes: number, salt = 1): Buffer {
  return Buffer.from(Array.from({ length: bytes }, (_, index) => (index * 31 + (index >> 9) * 7 + salt) & 0xff));
}

function refOf(bytes: Uint8Array): BlobRef {
  return { hash: hashBytes(bytes), bytes: bytes.length };
}

const large = blobOf(5 * maxPartBytes + 17);

describe("a blob that a peer offers", () => {
  it.each([0, 1, maxPartBytes, maxPartBytes + 1, large.length])("comes whole, with %i bytes", async (length) => {
    const world = new World();
    const [holder, asker] = [world.peer(), world.peer()];
    const { ref } = holder.blobs.offer(large.subarray(0, length));
    const bytes = await world.settled(asker.blobs.get(ref, [holder.id]));
    expect(Buffer.compare(bytes, large.subarray(0, length))).toBe(0);
  });

  it("costs little more than its bytes", async () => {
    const world = new World();
    const [holder, asker] = [world.peer(), world.peer()];
    await world.settled(asker.blobs.get(holder.blobs.offer(large).ref, [holder.id]));
    expect(asker.link.traffic.receivedBytes / large.length).toBeLessThan(1.001);
    expect(asker.link.traffic.sentBytes).toBeLessThan(1000);
  });

  it("comes through lost, doubled and late messages", { timeout: 60_000 }, async () => {
    const fates = fc.array(fc.constantFrom<Fate>("deliver", "deliver", "deliver", "drop", "double", "hold"), {
      minLength: 1,
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(fates, async (order) => {
        const world = new World();
        const [asker, ...holders] = [world.peer(), world.peer(), world.peer()];
        const ref = holders.map(({ blobs }) => blobs.offer(large).ref).at(-1) as BlobRef;
        let message = 0;
        world.network.fate = () => {
          const fate = order[message++] ?? "deliver";
          if (fate !== "hold") world.network.release();
          return fate;
        };
        const bytes = await world.settled(
          (asker as Peer).blobs.get(
            ref,
            holders.map(({ id }) => id),
          ),
        );
        expect(Buffer.compare(bytes, large)).toBe(0);
      }),
      { seed, numRuns: 100 },
    );
  });

  it("comes from whoever has it, and is not found where nobody has", async () => {
    const world = new World();
    const [asker, empty, holder] = [world.peer(), world.peer(), world.peer()];
    const offered = holder.blobs.offer(large);
    const both = [empty.id, holder.id];
    expect(await world.settled(asker.blobs.get(offered.ref, both))).toHaveLength(large.length);
    offered.withdraw();
    expect(await world.codeOf(asker.blobs.get(offered.ref, both))).toBe("blob-not-found");
    expect(await world.codeOf(asker.blobs.get(offered.ref, []))).toBe("blob-not-found");
  });

  it("stays as long as one of several offers of the same bytes stands", async () => {
    const world = new World();
    const [asker, holder] = [world.peer(), world.peer()];
    const [first, second] = [holder.blobs.offer(large), holder.blobs.offer(large)];
    first.withdraw();
    first.withdraw();
    expect(await world.settled(asker.blobs.get(second.ref, [holder.id]))).toHaveLength(large.length);
    second.withdraw();
    expect(await world.codeOf(asker.blobs.get(second.ref, [holder.id]))).toBe("blob-not-found");
  });

  it("is read from where it was offered last, as long as that offer stands", async () => {
    const { blobs } = new World().peer();
    const read: string[] = [];
    const offerFrom = (place: string) =>
      blobs.offerSource(hashBytes(large), {
        bytes: large.length,
        read: () => {
          read.push(place);
          return large;
        },
      });
    const [memory, disk] = [offerFrom("memory"), offerFrom("disk")];
    await blobs.get(refOf(large), []);
    disk.withdraw();
    await blobs.get(refOf(large), []);
    memory.withdraw();
    expect(read).toEqual(["disk", "memory"]);
  });

  it("is read from where it was offered before when a file is gone", async () => {
    const world = new World();
    const [holder, asker] = [world.peer(), world.peer()];
    const { ref } = holder.blobs.offer(large);
    const gone = () => Promise.reject(new FailureError("blob-not-found", "It was forgotten."));
    holder.blobs.offerSource(ref.hash, { bytes: large.length, read: gone });
    expect(await asker.blobs.get(ref, [holder.id])).toHaveLength(large.length);
    expect(await holder.blobs.get(ref, [])).toHaveLength(large.length);
  });

  it("is at hand for the miner that offers it", async () => {
    const world = new World();
    const holder = world.peer();
    const bytes = await holder.blobs.get(holder.blobs.offer(large).ref, []);
    expect(Buffer.compare(bytes, large)).toBe(0);
    expect(holder.link.traffic.sentBytes).toBe(0);
  });

  it("may lie in a file, which may be gone", async () => {
    const world = new World();
    const [asker, holder] = [world.peer(), world.peer()];
    let isThere = true;
    holder.blobs.offerSource(hashBytes(large), {
      bytes: large.length,
      read: async (offset, length) => {
        if (isThere) return large.subarray(offset, offset + length);
        throw new FailureError("blob-not-found", "the file is gone");
      },
    });
    expect(await world.settled(asker.blobs.get(refOf(large), [holder.id]))).toHaveLength(large.length);
    isThere = false;
    expect(await world.codeOf(asker.blobs.get(refOf(large), [holder.id]))).toBe("blob-not-found");
  });
});

describe("a holder that is lost on the way", () => {
  /** Delivers so many parts; what comes after is dropped, as if the sender had died. */
  function dieAfter(world: World, holder: Peer, parts: number, die: () => void): void {
    let left = parts;
    world.network.fate = ({ from, kind }) => {
      if (from !== holder.id || kind !== "blob-part") return "deliver";
      left -= 1;
      if (left === 0) die();
      return left < 0 ? "drop" : "deliver";
    };
  }

  it.each(["its loss is announced", "it falls silent"])(
    "is followed by another, and what came is kept: %s",
    async (how) => {
      const world = new World();
      const [asker, first, second] = [world.peer(), world.peer(), world.peer()];
      const { ref } = first.blobs.offer(large);
      second.blobs.offer(large);
      dieAfter(world, first, 3, () => {
        if (how === "it falls silent") return;
        world.network.remove(first.id);
        setImmediate(() => asker.blobs.peerLost(first.id));
      });
      const bytes = await world.settled(asker.blobs.get(ref, [first.id, second.id]));
      expect(Buffer.compare(bytes, large)).toBe(0);
      expect(second.link.traffic.sentBytes).toBeLessThan(large.length - 2 * maxPartBytes);
      // By what was measured of it and what it was asked for, rather than by what a stranger is given.
      const silenceMs = 300;
      expect(world.clock.nowMs() < silenceMs).toBe(how !== "it falls silent");
      expect(world.clock.nowMs()).toBeLessThan(3000);
    },
  );

  it("is asked last for the next blob, until it is heard again", async () => {
    const world = new World();
    const [asker, first, second] = [world.peer(), world.peer(), world.peer()];
    const blobs = [1, 2].map((salt) => blobOf(1000, salt));
    for (const { blobs: offering } of [first, second]) for (const blob of blobs) offering.offer(blob);
    world.network.fate = ({ from }) => (from === first.id ? "drop" : "deliver");
    const get = (blob: Buffer | undefined) => asker.blobs.get(refOf(blob ?? large), [first.id, second.id]);
    await world.settled(get(blobs[0]));
    const afterFirstMs = world.clock.nowMs();
    await world.settled(get(blobs[1]));
    expect(afterFirstMs).toBeGreaterThanOrEqual(2000);
    expect(world.clock.nowMs() - afterFirstMs).toBeLessThan(1000);
  });

  it("is asked again when there is nobody else, and given up in the end", async () => {
    const world = new World();
    const [asker, holder] = [world.peer(), world.peer()];
    const { ref } = holder.blobs.offer(large);
    world.network.fate = ({ from }) => (from === holder.id && world.clock.nowMs() < 5000 ? "drop" : "deliver");
    expect(await world.settled(asker.blobs.get(ref, [holder.id]))).toHaveLength(large.length);
    world.network.fate = ({ from }) => (from === holder.id ? "drop" : "deliver");
    expect(await world.codeOf(asker.blobs.get(ref, [holder.id]))).toBe("timed-out");
  });

  it("is not given up while all are away for a moment, as when the network starts again", async () => {
    const world = new World();
    const [asker, ...holders] = [world.peer(), world.peer(), world.peer()];
    const offered = holders.map(({ blobs }) => blobs.offer(large).ref);
    for (const { id } of holders) world.network.remove(id);
    const fetched = asker?.blobs.get(
      offered[0] as BlobRef,
      holders.map(({ id }) => id),
    ) as Promise<Uint8Array>;
    await world.turns(50);
    for (const holder of holders) world.connect(holder, world.network.link(holder.id));
    expect(await world.settled(fetched)).toHaveLength(large.length);
  });
});

describe("a link that is lost on the way", () => {
  it("is followed by the next, over which the rest comes, however long it takes", async () => {
    const world = new World();
    const [asker, holder] = [world.peer(), world.peer()];
    let parts = 0;
    world.network.fate = ({ kind }) => {
      if (kind === "blob-part" && ++parts === 3) asker.blobs.disconnected();
      return parts < 3 ? "deliver" : "drop";
    };
    const fetched = asker.blobs.get(holder.blobs.offer(large).ref, [holder.id]);
    await world.turns(100);
    world.clock.advance(1e7);
    await world.turns(100);
    world.network.fate = () => "deliver";
    const before = asker.link.traffic.receivedBytes;
    world.connect(asker, asker.link);
    expect(Buffer.compare(await world.settled(fetched), large)).toBe(0);
    expect(asker.link.traffic.receivedBytes - before).toBeLessThan(large.length - maxPartBytes);
  });

  it("does not keep a transfer from being cancelled", async () => {
    const world = new World();
    const [asker, holder] = [world.peer(), world.peer()];
    const { ref } = holder.blobs.offer(large);
    asker.blobs.disconnected();
    const cancelling = new AbortController();
    const fetched = asker.blobs.get(ref, [holder.id], { signal: cancelling.signal });
    cancelling.abort();
    expect(await world.codeOf(fetched)).toBe("cancelled");
    expect(await world.codeOf(asker.blobs.get(ref, [holder.id], { signal: cancelling.signal }))).toBe("cancelled");
  });
});

describe("a holder that serves something else", () => {
  const forgers: readonly (readonly [string, (part: BlobPart) => BlobPart])[] = [
    ["other bytes", (part) => ({ ...part, bytes: part.bytes && Uint8Array.from(part.bytes, (byte) => byte ^ 1) })],
    ["another size", (part) => ({ ...part, totalBytes: part.totalBytes + 1 })],
    ["a part too short", (part) => ({ ...part, bytes: part.bytes?.subarray(1) ?? null })],
    ["a part from nowhere", (part) => ({ ...part, offset: part.offset + 3 })],
  ];

  it.each(forgers)("is named, and another one asked: %s", async (_, forge) => {
    const world = new World();
    const [asker, liar, honest] = [world.peer(), world.peer(), world.peer()];
    const { ref } = honest.blobs.offer(large);
    forging(world, liar, forge);
    const wrong: MinerId[] = [];
    const onWrong = (holder: MinerId) => wrong.push(holder);
    const bytes = await world.settled(asker.blobs.get(ref, [liar.id, honest.id], { onWrong }));
    expect(Buffer.compare(bytes, large)).toBe(0);
    expect(wrong).toEqual([liar.id]);
  });

  it("cannot spoil for good what others have sent", async () => {
    const world = new World();
    const [asker, liar, honest] = [world.peer(), world.peer(), world.peer()];
    const { ref } = honest.blobs.offer(large);
    let parts = 0;
    forging(world, liar, (part) => ({ ...part, bytes: part.bytes && Uint8Array.from(part.bytes, (byte) => byte ^ 1) }));
    world.network.fate = ({ from, kind }) =>
      from === liar.id && kind === "blob-part" && ++parts > 2 ? "drop" : "deliver";
    const bytes = await world.settled(asker.blobs.get(ref, [liar.id, honest.id]));
    expect(Buffer.compare(bytes, large)).toBe(0);
  });

  it("leads to nothing when it is the only one", async () => {
    const world = new World();
    const [asker, liar] = [world.peer(), world.peer()];
    forging(world, liar, (part) => ({ ...part, bytes: part.bytes && new Uint8Array(part.bytes.length) }));
    expect(await world.codeOf(asker.blobs.get(refOf(large), [liar.id]))).toBe("blob-not-found");
  });

  /** Lets a peer answer with what `forge` makes of the true part. */
  function forging(_: World, { link }: Peer, forge: (part: BlobPart) => BlobPart): void {
    link.onMessage(({ from, kind, body }) => {
      if (kind !== "blob-request") return;
      const { hash, offset, length } = decodeBody(blobRequestSchema, body);
      const bytes = large.subarray(offset, offset + length);
      void link.send(from, "blob-part", encodeBody(forge({ hash, offset, totalBytes: large.length, bytes })));
    });
  }
});

describe("a blob whose length is known within limits only", () => {
  const limits = { least: 10, most: 2 * large.length };
  const wanted = { hash: hashBytes(large), bytes: limits };

  it("arrives, whether it is one part or many", async () => {
    const world = new World();
    const [asker, holder] = [world.peer(), world.peer()];
    for (const blob of [large, blobOf(limits.least, 1), blobOf(maxPartBytes, 2), blobOf(maxPartBytes + 1, 3)]) {
      const { ref } = holder.blobs.offer(blob);
      const bytes = await world.settled(asker.blobs.get({ hash: ref.hash, bytes: limits }, [holder.id]));
      expect(Buffer.compare(bytes, blob)).toBe(0);
    }
  });

  it("is not taken from who says that it is longer or shorter: nothing is kept for it", async () => {
    for (const totalBytes of [limits.most + 1, limits.least - 1, 2 ** 50]) {
      const world = new World();
      const [asker, liar, holder] = [world.peer(), world.peer(), world.peer()];
      holder.blobs.offer(large);
      answerWith(liar, (part) => ({ ...part, totalBytes }));
      const wrong: MinerId[] = [];
      const onWrong = (peer: MinerId) => wrong.push(peer);
      const bytes = await world.settled(asker.blobs.get(wanted, [liar.id, holder.id], { onWrong }));
      expect(Buffer.compare(bytes, large)).toBe(0);
      expect(wrong).toEqual([liar.id]);
    }
  });

  it("is had of the honest one where two disagree about its length, whoever is asked first", async () => {
    const world = new World();
    const [asker, liar, holder] = [world.peer(), world.peer(), world.peer()];
    holder.blobs.offer(large);
    let answers = 0;
    // Its first part is right and its length is not; then it falls silent.
    answerWith(liar, (part) => (answers++ === 0 ? { ...part, totalBytes: large.length + 1 } : null));
    const wrong: MinerId[] = [];
    const onWrong = (peer: MinerId) => wrong.push(peer);
    const bytes = await world.settled(asker.blobs.get(wanted, [liar.id, holder.id], { onWrong }));
    expect(Buffer.compare(bytes, large)).toBe(0);
    expect(wrong).not.toContain(holder.id);
  });

  /** Lets a peer answer with what `forge` makes of the true part, if anything. */
  function answerWith({ link }: Peer, forge: (part: BlobPart) => BlobPart | null): void {
    link.onMessage(({ from, kind, body }) => {
      if (kind !== "blob-request") return;
      const { hash, offset, length } = decodeBody(blobRequestSchema, body);
      const bytes = large.subarray(offset, offset + length);
      const part = forge({ hash, offset, totalBytes: large.length, bytes });
      if (part !== null) void link.send(from, "blob-part", encodeBody(part));
    });
  }
});

describe("a hostile asker", () => {
  it("gets nothing that is not offered, nor more at once than a part", async () => {
    const world = new World();
    const [holder, asker] = [world.peer(), world.peer()];
    const { hash } = holder.blobs.offer(large).ref;
    const answers = listen(asker);
    for (const request of [
      { hash: hashBytes(Buffer.from("a secret")), offset: 0, length: 1 },
      { hash, offset: 0, length: maxPartBytes + 1 },
      { hash, offset: large.length, length: 1 },
      { hash, offset: large.length + 1, length: 1 },
    ])
      await asker.link.send(holder.id, "blob-request", encodeBody(request));
    await world.turns(50);
    expect(answers.map(({ bytes }) => bytes)).toEqual([null, null, null, null]);
  });

  it("is sent a bounded number of bytes, however often it asks", async () => {
    const world = new World();
    const [holder, asker, other] = [world.peer(), world.peer(), world.peer()];
    const { ref } = holder.blobs.offer(large);
    const answers = listen(asker);
    for (let round = 0; round < 60; round++) {
      await asker.link.send(holder.id, "blob-request", encodeBody({ hash: ref.hash, offset: 0, length: maxPartBytes }));
      await world.turns(5);
    }
    expect(answers.at(-1)?.bytes).toBeNull();
    expect(holder.link.traffic.sentBytes).toBeLessThan(8.1 * large.length);
    expect(await world.settled(other.blobs.get(ref, [holder.id]))).toHaveLength(large.length);
  });

  it("does not make the holder queue what it does not read", async () => {
    const world = new World();
    const [holder, asker] = [world.peer(), world.peer()];
    const { ref } = holder.blobs.offer(large);
    let reads = 0;
    const slow = { bytes: large.length, read: () => new Promise<Uint8Array>(() => void reads++) };
    const hash = hashBytes(Buffer.from("slow"));
    holder.blobs.offerSource(hash, slow);
    for (let offset = 0; offset < 1000; offset++)
      await asker.link.send(holder.id, "blob-request", encodeBody({ hash, offset, length: 1 }));
    await world.turns(1100);
    expect(reads).toBe(1);
    expect(ref.bytes).toBe(large.length);
  });

  it("is reported when its messages are none", async () => {
    const world = new World();
    const [holder, asker] = [world.peer(), world.peer()];
    for (const kind of ["blob-request", "blob-part"] as const)
      for (const body of [Buffer.from("nonsense"), encodeBody({ hash: refOf(large).hash, offset: -1, length: 1 })])
        await asker.link.send(holder.id, kind, body);
    await world.turns(50);
    expect(holder.dropped).toEqual(Array(4).fill("malformed-message"));
  });

  function listen({ link }: Peer): BlobPart[] {
    const answers: BlobPart[] = [];
    link.onMessage(({ body }) => answers.push(decodeBody(blobPartSchema, body)));
    return answers;
  }
});
