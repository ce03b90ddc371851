import { describe, expect, it } from "vitest";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import { FailureError } from "../../protocol/failure.ts";
import { mostPastMerges } from "../../protocol/gateway-messages.ts";
import { bytesOf, hashBytes } from "../../protocol/identity.ts";
import { type BlobHash, type BlobRef, type PlaceRef, runIdSchema } from "../../protocol/ids.ts";
import type { BlobSource } from "../../transport/blob-serving.ts";
import { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { Snapshots } from "./snapshots.ts";

const at: PlaceRef = { runId: runIdSchema.parse("run"), epoch: 3, attempt: 1, stage: 2 };
const nextAt = { ...at, epoch: 4, attempt: 0 };

/** Blobs on the disk, and in a store that tests can shut. */
class FakeBlobs {
  readonly disk = new Map<BlobHash, Uint8Array>();
  /** What the disk must not forget. */
  readonly held = new Set<object>();
  readonly stored: BlobHash[] = [];
  /** Why the store takes nothing; null: it does. */
  refusal: FailureError | null = null;
  /** Uploads wait for it. */
  opening: Promise<void> = Promise.resolve();

  async hold(bytes: Uint8Array) {
    const ref = { hash: hashBytes(bytes), bytes: bytes.length };
    this.disk.set(ref.hash, Uint8Array.from(bytes));
    const read = (offset: number, length: number) => {
      const kept = this.disk.get(ref.hash);
      if (kept === undefined) throw new FailureError("blob-not-found", "It was forgotten.");
      return kept.subarray(offset, offset + length);
    };
    this.held.add(ref);
    return { ref, source: { bytes: ref.bytes, read }, release: () => void this.held.delete(ref) };
  }

  async put(ref: BlobRef, source: BlobSource, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    await this.opening;
    if (signal?.aborted) throw new FailureError("cancelled", "It was cancelled.");
    if (this.refusal !== null) throw this.refusal;
    if (hashBytes(await source.read(0, source.bytes)) !== ref.hash)
      throw new FailureError("blob-not-found", "Its file is no longer what it was.");
    this.stored.push(ref.hash);
  }
}

/** Snapshots of an engine whose weights tests set. */
class World {
  readonly blobs = new FakeBlobs();
  readonly clock = new FakeClock();
  readonly sent: ClientMessage[] = [];
  readonly log: string[] = [];
  readonly peerBlobs = new PeerBlobs({ clock: this.clock, dropped: () => undefined });
  weights = Float32Array.of(1, 2, 3);
  readonly optimizer = Float32Array.of(4);
  moments: Uint8Array | null = Uint8Array.of(5, 6);
  readonly snapshots: Snapshots;

  constructor() {
    const engine = {
      call: async (method) =>
        method === "moments" ? this.moments : { weights: this.weights.slice(), optimizer: this.optimizer.slice() },
    } as Pick<ComputeEngine, "call"> as ComputeEngine;
    this.snapshots = new Snapshots(
      {
        blobs: this.blobs,
        peerBlobs: this.peerBlobs,
        clock: this.clock,
        send: (message) => this.sent.push(message),
        log: (_, text) => this.log.push(text),
      },
      (stage, weightsHash) => (stage === at.stage && weightsHash === this.weightsHash ? engine : null),
    );
  }

  get weightsHash(): BlobHash {
    return hashBytes(bytesOf(this.weights));
  }

  get state() {
    const refOf = (bytes: Uint8Array) => ({ hash: hashBytes(bytes), bytes: bytes.length });
    return { weights: refOf(bytesOf(this.weights)), optimizer: refOf(bytesOf(this.optimizer)) };
  }

  get snapshot() {
    const { moments } = this;
    return { ...this.state, moments: moments && { hash: hashBytes(moments), bytes: moments.length } };
  }

  async take(place = at): Promise<void> {
    this.snapshots.handle({ type: "take-snapshot", at: place, weightsHash: this.weightsHash });
    await settled();
  }

  async store(place = at): Promise<void> {
    this.snapshots.handle({ type: "store-checkpoint", at: place });
    await settled();
  }
}

/** Lets everything happen that can happen by itself. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("a snapshot", () => {
  it("is copied to the disk, and served to joiners from there", async () => {
    const world = new World();
    await world.take();
    expect(world.sent).toEqual([{ type: "snapshot", at, state: world.snapshot }]);
    expect(await world.peerBlobs.get(world.state.weights, [])).toEqual(bytesOf(world.weights));
    expect(world.blobs.stored).toEqual([]);
  });

  it("has the optimizer's memory in few bytes as well, unless that has to be exact", async () => {
    const world = new World();
    world.moments = null;
    await world.take();
    expect(world.sent).toEqual([{ type: "snapshot", at, state: { ...world.state, moments: null } }]);
    expect(world.peerBlobs.offeredBlobs).toBe(2);
  });

  it("is answered for again, and not taken again, when it is asked for again", async () => {
    const world = new World();
    await world.take();
    const before = world.snapshot;
    const { weightsHash } = world;
    world.weights = Float32Array.of(9, 9, 9);
    world.snapshots.handle({ type: "take-snapshot", at, weightsHash });
    expect(world.sent.at(-1)).toEqual({ type: "snapshot", at, state: before });
    expect(world.sent).toHaveLength(2);
  });

  it("is denied by who holds other weights by now", async () => {
    const world = new World();
    const { weightsHash } = world;
    world.weights = Float32Array.of(9, 9, 9);
    world.snapshots.handle({ type: "take-snapshot", at, weightsHash });
    expect(world.sent).toEqual([{ type: "snapshot", at, state: null }]);
  });

  it("is put into the store when that is asked for, and the word is given again", async () => {
    const world = new World();
    await world.take();
    await world.store();
    expect(world.blobs.stored).toEqual([world.state.weights.hash, world.state.optimizer.hash]);
    await world.store();
    const stored = { type: "stored", at, ...world.state };
    expect(world.sent.slice(1)).toEqual([stored, stored]);
    expect(world.blobs.stored).toHaveLength(2);
  });

  it("outlives its place as long as joiners may want it: while merges lead on from it that are kept", async () => {
    const world = new World();
    await world.take();
    world.snapshots.epochBegins({ ...nextAt, epoch: at.epoch + mostPastMerges });
    expect(world.peerBlobs.offeredBlobs).toBe(3);
    world.snapshots.epochBegins({ ...nextAt, epoch: at.epoch + mostPastMerges + 1 });
    expect(world.peerBlobs.offeredBlobs).toBe(0);
    await world.store();
    expect(world.sent.at(-1)).toEqual({ type: "snapshot", at, state: null });
  });

  it("is held on the disk until the next epoch is over, and lies there afterwards while there is room", async () => {
    const world = new World();
    await world.take();
    world.snapshots.epochBegins(nextAt);
    expect(world.blobs.held.size).toBe(3);
    world.snapshots.epochBegins({ ...nextAt, epoch: nextAt.epoch + 1 });
    expect(world.blobs.held.size).toBe(0);
    expect(world.peerBlobs.offeredBlobs).toBe(3);
  });

  it("is not held when it is called off while it is being taken", async () => {
    const world = new World();
    const taken = world.take();
    world.snapshots.dropOthersThan(null);
    await taken;
    expect(world.blobs.disk.size).toBe(3);
    expect(world.blobs.held.size).toBe(0);
  });

  it("of a stage that is another miner's now is forgotten like the others", async () => {
    const world = new World();
    await world.take();
    world.snapshots.epochBegins({ ...nextAt, epoch: at.epoch + mostPastMerges + 1 });
    expect(world.peerBlobs.offeredBlobs).toBe(0);
  });

  it("that could not be stored for long is said to be lost, once newer ones do instead", async () => {
    const world = new World();
    world.blobs.refusal = new FailureError("unreachable", "Nobody answers.", { retry: true });
    await world.take();
    await world.store();
    world.snapshots.epochBegins({ ...nextAt, epoch: at.epoch + mostPastMerges });
    expect(world.blobs.held.size).toBe(3);
    world.snapshots.epochBegins({ ...nextAt, epoch: at.epoch + mostPastMerges + 1 });
    expect(world.blobs.held.size).toBe(0);
    expect(world.sent.at(-1)).toEqual({ type: "snapshot", at, state: null });
  });

  it("that is being stored stays until that is done, though newer ones are taken", async () => {
    const world = new World();
    const opening = Promise.withResolvers<void>();
    world.blobs.opening = opening.promise;
    await world.take();
    const first = world.state;
    await world.store();
    world.weights = Float32Array.of(9, 9, 9);
    await world.take(nextAt);
    world.snapshots.epochBegins({ ...nextAt, epoch: at.epoch + mostPastMerges + 2 });
    expect(world.peerBlobs.offeredBlobs).toBeGreaterThan(0);
    expect(world.blobs.held.size).toBe(3);
    opening.resolve();
    await settled();
    expect(world.sent.at(-1)).toEqual({ type: "stored", at, ...first });
  });

  it("is stored no longer when that was called off, and may be asked for again", async () => {
    const world = new World();
    const opening = Promise.withResolvers<void>();
    world.blobs.opening = opening.promise;
    await world.take();
    await world.store();
    world.snapshots.handle({ type: "abandon-checkpoint", at });
    opening.resolve();
    await settled();
    expect(world.blobs.stored).toEqual([]);
    await world.store();
    expect(world.sent.at(-1)).toMatchObject({ type: "stored" });
  });

  it("is stored later when the store cannot be reached", async () => {
    const world = new World();
    world.blobs.refusal = new FailureError("unreachable", "Nobody answers.", { retry: true });
    await world.take();
    await world.store();
    expect(world.log.join()).toContain("Nobody answers.");
    world.blobs.refusal = null;
    world.clock.advance(60_000);
    await settled();
    expect(world.sent.at(-1)).toMatchObject({ type: "stored" });
  });

  it("is not tried again where it is not wanted", async () => {
    const world = new World();
    world.blobs.refusal = new FailureError("not-authorised", "Who are you?");
    await world.take();
    await world.store();
    world.blobs.refusal = null;
    world.clock.advance(60_000);
    await settled();
    expect(world.sent.map(({ type }) => type)).toEqual(["snapshot"]);
    await world.store();
    expect(world.sent.at(-1)).toMatchObject({ type: "stored" });
  });

  it("that the disk has lost is said to be lost", async () => {
    const world = new World();
    await world.take();
    world.blobs.disk.clear();
    await world.store();
    expect(world.sent.at(-1)).toEqual({ type: "snapshot", at, state: null });
    expect(world.peerBlobs.offeredBlobs).toBe(0);
  });

  it("whose file was changed is not stored as if it were the same", async () => {
    const world = new World();
    await world.take();
    world.blobs.disk.get(world.state.optimizer.hash)?.fill(7);
    await world.store();
    expect(world.sent.at(-1)).toEqual({ type: "snapshot", at, state: null });
  });

  it("of another run, or of a miner that leaves, is forgotten", async () => {
    const world = new World();
    await world.take();
    world.snapshots.dropOthersThan(at.runId);
    expect(world.peerBlobs.offeredBlobs).toBe(3);
    world.snapshots.dropOthersThan(null);
    expect(world.peerBlobs.offeredBlobs).toBe(0);
  });
});
