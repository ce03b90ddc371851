import { describe, expect, it } from "vitest";
import { hashBytes } from "../../protocol/identity.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import { partitionsOf } from "../../protocol/partitions.ts";
import { fakeContributions } from "./fake-contributions.ts";
import { FakeSwarm, fakePlace } from "./fake-swarm.ts";
import { KeptContribution } from "./kept-contribution.ts";
import { Merge } from "./merge.ts";
import type { MergeScope } from "./merge-surroundings.ts";

const parameters = 64;

/** Two replicas, the first of which merges by hand. */
function world() {
  const swarm = new FakeSwarm(fakeContributions(2, parameters, 1));
  const [owner, contributor] = swarm.members;
  if (owner === undefined || contributor === undefined) throw new Error("two members");
  const replicas = swarm.members.map(({ id }) => id);
  const ending = new AbortController();
  const told: string[] = [];
  const scope: MergeScope = {
    self: owner.id,
    peerBlobs: owner.peerBlobs,
    clock: swarm.clock,
    pastMerges: { keep: async () => undefined, merged: () => undefined },
    tell: (_, { type }) => told.push(type),
    isLive: () => true,
    log: () => undefined,
    place: fakePlace,
    replicas,
    partitions: partitionsOf(fakePlace.at, replicas, parameters, fakePlace.training.compression.merge),
    signal: ending.signal,
  };
  return { swarm, owner, contributor, scope, told, ending };
}

/** The hashes of an offer that nobody has the bytes of. */
function invented(scope: MergeScope, name: string): readonly BlobHash[] {
  return scope.partitions.map(({ index }) => hashBytes(Buffer.from(`${name} ${index}`)));
}

describe("a contribution that is kept for another replica", () => {
  it("that began anew over and over is fetched in its last version only, whatever it offered before", async () => {
    const { swarm, contributor, owner, scope, told } = world();
    const asked: string[] = [];
    swarm.fate = ({ kind, from }) => {
      if (kind === "blob-request" && from === owner.id) asked.push("request");
      return kind === "blob-request" ? "drop" : "deliver";
    };
    const merge = new Merge(scope);
    const offers = Array.from({ length: 100 }, (_, index) => invented(scope, `offer ${index}`));
    const receiving = offers.map((slices) =>
      merge.receive(contributor.id, { type: "offer", at: fakePlace.at, tokens: 1, slices }),
    );
    // All but the last are given up at once.
    await Promise.all(receiving.slice(0, -1));
    const before = asked.length;
    swarm.clock.advance(60_000);
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(asked.length - before).toBeLessThanOrEqual(10 * scope.partitions.length);
    expect(told).toEqual([]);
    // Its list of slices is what is offered of the last one.
    expect(owner.peerBlobs.offeredBlobs).toBe(1);
    merge.release();
    await Promise.all(receiving);
    expect(owner.peerBlobs.offeredBlobs).toBe(0);
  });

  it("offers nothing that arrives after it was given up", async () => {
    const { swarm, contributor, owner, scope } = world();
    const payloads = scope.partitions.map(({ length }, index) => new Uint8Array(4 * length).fill(index + 1));
    const slices = payloads.map((payload) => contributor.peerBlobs.offer(payload).ref.hash);
    swarm.fate = () => "hold";
    const kept = new KeptContribution(scope, contributor.id, slices);
    const keeping = kept.keep();
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    kept.release();
    swarm.fate = () => "deliver";
    swarm.network.release();
    expect(await keeping).toBe(false);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(owner.peerBlobs.offeredBlobs).toBe(0);
    for (const partition of scope.partitions) expect(kept.slice(partition)).toBeNull();
  });
});
