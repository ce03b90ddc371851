import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashBytes } from "./identity.ts";
import { type MinerId, minerIdSchema, type PlaceRef, runIdSchema } from "./ids.ts";
import { manifestOf, ownersPerPartition, type Partition, partitionsOf } from "./partitions.ts";
import type { VectorCodec } from "./run-config.ts";

const seed = 20_261_126;
const codec: VectorCodec = { kind: "f32" };
const at: PlaceRef = { runId: runIdSchema.parse("demo"), epoch: 3, attempt: 0, stage: 1 };

function miners(count: number): readonly MinerId[] {
  return Array.from({ length: count }, (_, index) => minerIdSchema.parse(hashBytes(Buffer.from(`miner ${index}`))));
}

/** How many partitions each miner stands at the given place in line for. */
function counts(partitions: readonly Partition[], place: number): Map<MinerId | undefined, number> {
  const found = new Map<MinerId | undefined, number>();
  for (const { order } of partitions) found.set(order[place], (found.get(order[place]) ?? 0) + 1);
  return found;
}

describe("partitions", () => {
  const sizes = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 60_000_000 }));

  test("cover every parameter once, in slices of nearly one size, none of them too large", () => {
    fc.assert(
      fc.property(sizes, ([replicas, parameters]) => {
        const partitions = partitionsOf(at, miners(replicas), parameters, codec);
        let covered = 0;
        for (const [index, partition] of partitions.entries()) {
          expect(partition).toMatchObject({ index, from: covered });
          covered += partition.length;
        }
        expect(covered).toBe(parameters);
        const lengths = partitions.map(({ length }) => length);
        expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
        expect(Math.min(...lengths)).toBeGreaterThan(0);
        expect(Math.max(...lengths) * 4).toBeLessThanOrEqual((4 << 20) + 4);
      }),
      { seed },
    );
  });

  test("are shared out evenly: each replica is first, second and last in line equally often", () => {
    fc.assert(
      fc.property(sizes, ([replicas, parameters]) => {
        fc.pre(parameters >= replicas);
        const partitions = partitionsOf(at, miners(replicas), parameters, codec);
        for (let place = 0; place < replicas; place++) {
          const found = counts(partitions, place);
          expect(found.size).toBe(replicas);
          expect(new Set(found.values()).size).toBe(1);
        }
      }),
      { seed },
    );
  });

  test("have every replica in line once, and two owners where there are two replicas", () => {
    for (const replicas of [1, 2, 3, 7])
      for (const { order } of partitionsOf(at, miners(replicas), 1000, codec)) {
        expect(new Set(order)).toEqual(new Set(miners(replicas)));
        expect(order.length).toBe(replicas);
        expect(new Set(order.slice(0, ownersPerPartition)).size).toBe(Math.min(2, replicas));
      }
  });

  test("are the same for everybody, in whatever order the replicas are named to whom", () => {
    const named = miners(5);
    expect(partitionsOf(at, named.toReversed(), 1000, codec)).toEqual(partitionsOf(at, named, 1000, codec));
  });

  test("change owners from place to place, so that nobody chooses whose work it averages", () => {
    const ownersOf = (place: PlaceRef) => partitionsOf(place, miners(8), 8, codec)[0]?.order.join();
    const places = [at, { ...at, epoch: 4 }, { ...at, attempt: 1 }, { ...at, stage: 2 }];
    expect(new Set(places.map(ownersOf)).size).toBe(places.length);
  });

  test("of a compressed vector begin where its codec's chunks do, and are fewer when there are few chunks", () => {
    const compressed: VectorCodec = { kind: "dense", bits: 2 };
    fc.assert(
      fc.property(sizes, ([replicas, parameters]) => {
        const partitions = partitionsOf(at, miners(replicas), parameters, compressed);
        let covered = 0;
        for (const { from, length } of partitions) {
          expect(from).toBe(covered);
          expect(from % 4096).toBe(0);
          expect(length).toBeGreaterThan(0);
          expect(length).toBeLessThanOrEqual(2 ** 20);
          covered += length;
        }
        expect(covered).toBe(parameters);
        expect(partitions.length === Math.ceil(parameters / 4096) || partitions.length % replicas === 0).toBe(true);
      }),
      { seed },
    );
  });

  test("are no more than there are parameters", () => {
    expect(partitionsOf(at, miners(8), 3, codec)).toHaveLength(3);
  });
});

describe("a contribution's name", () => {
  test("is the hash of its slices' hashes, in their order", () => {
    const [a, b] = [hashBytes(Buffer.from("a")), hashBytes(Buffer.from("b"))];
    expect(manifestOf([a, b])).toBe(hashBytes(Buffer.from(a + b, "hex")));
    expect(manifestOf([b, a])).not.toBe(manifestOf([a, b]));
  });
});
