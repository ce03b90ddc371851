import { describe, expect, it } from "vitest";
import { FailureError } from "../../protocol/failure.ts";
import { mostPastMerges } from "../../protocol/gateway-messages.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { manifestOf, sliceListBytes, sliceListRef } from "../../protocol/partitions.ts";
import { mergeCodecs, noCompression, type VectorCodec } from "../../protocol/run-config.ts";
import { PeerBlobs } from "../../transport/peer-blobs.ts";
import { FakeBlobs } from "../flow/fake-blobs.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { fakePlace } from "./fake-swarm.ts";
import { PastMerges } from "./past-merges.ts";

const parameters = 1000;

class World {
  readonly blobs = new FakeBlobs();
  readonly peerBlobs = new PeerBlobs({ clock: new FakeClock(), dropped: () => undefined });
  readonly log: string[] = [];
  readonly past: PastMerges;

  constructor(merge: VectorCodec = mergeCodecs.dense2) {
    const { blobs, peerBlobs } = this;
    const training = { ...fakePlace.training, compression: { ...noCompression, merge } };
    this.past = new PastMerges({ blobs, peerBlobs, log: (_, text) => this.log.push(text) }, training, parameters);
  }

  /** A merge of one slice of so many bytes, and a partition that has none; its list. */
  async merge(salt: number, bytes = 100) {
    const payload = new Uint8Array(bytes).fill(salt);
    const slices = [hashBytes(payload), null];
    await this.past.keep(payload, hashBytes(payload));
    this.past.merged(slices);
    return { slices, list: sliceListRef(manifestOf(slices), slices.length) };
  }
}

describe("past merges", () => {
  it("are offered by the list of their slices, and slice by slice, from the disk", async () => {
    const world = new World();
    const { slices, list } = await world.merge(1);
    const [hash] = slices;
    if (!hash) throw new Error("a slice");
    expect(Buffer.compare(await world.peerBlobs.get(list, []), sliceListBytes(slices))).toBe(0);
    expect(await world.peerBlobs.get({ hash, bytes: 100 }, [])).toEqual(new Uint8Array(100).fill(1));
    expect(world.blobs.kept.has(hash)).toBe(true);
    world.past.release();
    expect(world.peerBlobs.offeredBlobs).toBe(0);
  });

  it("are no more than the network tells of", async () => {
    const world = new World();
    for (let merge = 0; merge < mostPastMerges + 3; merge++) await world.merge(merge);
    expect(world.peerBlobs.offeredBlobs).toBe(2 * mostPastMerges);
    expect(world.blobs.kept.size).toBe(mostPastMerges);
  });

  it("lie on the disk as long as any of them has the slice", async () => {
    const world = new World();
    for (let merge = 0; merge < mostPastMerges; merge++) await world.merge(1);
    await world.merge(2);
    expect(world.blobs.kept.size).toBe(2);
  });

  it("take no more than half of what the weights take, the latest first", async () => {
    const world = new World();
    for (const merge of [1, 2, 3]) await world.merge(merge, 900);
    expect(world.peerBlobs.offeredBlobs).toBe(4);
    await world.merge(4, 2 * parameters + 1);
    expect(world.peerBlobs.offeredBlobs).toBe(4);
  });

  it("are not kept where they are not compressed", async () => {
    const world = new World(mergeCodecs.f32);
    await world.merge(1);
    expect([world.peerBlobs.offeredBlobs, world.blobs.kept.size]).toEqual([0, 0]);
  });

  it.each([
    [new FailureError("disk-full", "The disk is full."), "The disk is full."],
    [new Error("EIO: i/o error"), "Error: EIO: i/o error"],
  ])("are not offered in part: a merge whose slices the disk did not take is left to others", async (error, why) => {
    const world = new World();
    world.blobs.keep = () => Promise.reject(error);
    await world.merge(1);
    expect(world.peerBlobs.offeredBlobs).toBe(0);
    expect(world.log).toEqual([`A merged slice is not kept for others: ${why}`]);
  });
});
