/**
 * `npm run bench -- merge`: what the butterfly merge costs a replica, how exact it is, and what is lost when replicas die in it. Real
 * are the merge, the exchange of blobs and the orchestrator's core; the links are in memory, and the engines hold nothing but a vector.
 */
import { z } from "zod";
import { streamKey, uniform } from "../../src/compute/random.ts";
import { mergeCodecNameSchema, mergeCodecs } from "../../src/protocol/run-config.ts";
import { type Dropout, type MergeShape, measureMerge } from "./merge/measure-merge.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, rounded, verdictOf } from "./shared/report.ts";

const flags = readFlags(
  z.object({
    /** One number of replicas, or several. */
    replicas: z
      .string()
      .default("2,4,8,16,32")
      .transform((list) => list.split(",").map((one) => count.parse(one))),
    parameters: count.default(1_000_000),
    /** So many replicas die at random moments; or, with "all", each one in turn at each moment. */
    dropouts: z.union([z.literal("all"), z.coerce.number().int().nonnegative()]).default("all"),
    /** What slices are encoded in. */
    codec: mergeCodecNameSchema.default("f32"),
    seed: z.coerce.number().int().nonnegative().default(1),
    json: given,
  }),
);

/** What a Gaussian vector is rounded by, relative to its length: the quantisers' distortion (Max 1960, table I); of `topk` the most that it can be. */
const roundings = { f32: 0, dense1: 0.603, dense2: 0.343, dense4: 0.098, dense8: 0.01, topk1: 1, topk10: 1 };
const codec = mergeCodecs[flags.codec];
const rounding = roundings[flags.codec];

const targets = {
  ofTheory: { atMost: 1.1 },
  error: { atMost: 1e-6 },
  rounding: { atMost: 1.1 * Math.SQRT2 * rounding },
  lost: { atMost: 0 },
} as const;
/** When and where one dies does not depend on how long the vectors are, but on how many slices there are. */
const mostParametersPerDropout = 1024;
const parametersPerCompressedSlice = 4096;
/** If all moments together took more deliveries than this, which they do among more than eight replicas … */
const mostDeliveries = 2_000_000;
/** … so many are tried, evenly spaced, with another replica each time. */
const sampledMoments = 100;

const rows = [];
for (const replicas of flags.replicas) {
  const shape = { replicas, parameters: flags.parameters, seed: flags.seed, codec };
  const undisturbed = await measureMerge(shape);
  const disturbed = flags.dropouts === "all" ? await eachDropout(shape) : await randomDropouts(shape, flags.dropouts);
  const ofTheory =
    undisturbed.theoreticalBytes === 0 ? 1 : undisturbed.bytesSentPerReplica / undisturbed.theoreticalBytes;
  rows.push({ ...undisturbed, bytesOfTheory: rounded(ofTheory, 3), dropouts: disturbed });
  progress(
    `${replicas} replicas: ${rounded(ofTheory, 3)} of the formula's bytes, error ${errorOf(undisturbed)}, ` +
      `${disturbed.partitionsLost} partitions lost in ${disturbed.merges} merges with dropouts`,
  );
}

const last = rows.at(-1);
const maxAbsError = Math.max(...rows.flatMap((row) => [row.maxAbsError ?? 0, row.dropouts.maxAbsError ?? 0]));
const relativeError = Math.max(...rows.flatMap((row) => [row.relativeError ?? 0, row.dropouts.relativeError ?? 0]));
const partitionsLost = rows.reduce((sum, row) => sum + row.partitionsLost + row.dropouts.partitionsLost, 0);
const mostOfTheory = Math.max(...rows.map(({ bytesOfTheory }) => bytesOfTheory));
printResult({
  parameters: flags.parameters,
  /** Of the largest number of replicas; the others are in `rows`. */
  replicas: last?.replicas,
  bytesSentPerReplica: last?.bytesSentPerReplica,
  bytesReceivedPerReplica: last?.bytesReceivedPerReplica,
  theoreticalBytes: last?.theoreticalBytes,
  codec: flags.codec,
  compression: rounded(last?.compression ?? 1, 3),
  maxAbsError,
  relativeError,
  partitionsLost,
  verdicts: {
    bytes: verdictOf(mostOfTheory, targets.ofTheory),
    exactness:
      codec.kind === "f32" ? verdictOf(maxAbsError, targets.error) : verdictOf(relativeError, targets.rounding),
    partitionsLost: verdictOf(partitionsLost, targets.lost),
  },
  rows,
  ...provenance(flags.seed),
});

/** Every replica dies once before every delivery of the undisturbed merge, or before a part of them. */
async function eachDropout(given: MergeShape) {
  const parameters = codec.kind === "f32" ? mostParametersPerDropout : given.replicas * parametersPerCompressedSlice;
  const shape = { ...given, parameters: Math.min(given.parameters, parameters) };
  const { deliveries } = await measureMerge(shape);
  const isSampled = deliveries ** 2 * shape.replicas > mostDeliveries;
  const moments = isSampled ? evenlySpaced(sampledMoments, deliveries) : evenlySpaced(deliveries, deliveries);
  const dropouts = moments.flatMap((moment, index) =>
    isSampled
      ? [{ replica: index % shape.replicas, moment }]
      : each(shape.replicas).map((replica) => ({ replica, moment })),
  );
  const runs = shape.replicas === 1 ? [] : dropouts.map((dropout) => [dropout]);
  return { ...(await summaryOf(shape, runs)), moments: deliveries, momentsTried: moments.length };
}

/** From 1 to `last`. */
function evenlySpaced(number: number, last: number): readonly number[] {
  return each(number).map((index) => 1 + Math.floor((index * last) / number));
}

function each(number: number): readonly number[] {
  return Array.from({ length: number }, (_, index) => index);
}

async function randomDropouts(shape: MergeShape, number: number) {
  if (number === 0) return summaryOf(shape, []);
  const { deliveries } = await measureMerge(shape);
  const key = streamKey(shape.seed, "dropouts");
  const victims = each(shape.replicas)
    .toSorted((a, b) => uniform(key, 0, a) - uniform(key, 0, b))
    .slice(0, number);
  const dropouts = victims.map((replica) => ({
    replica,
    moment: 1 + Math.floor(uniform(key, 1, replica) * deliveries),
  }));
  return summaryOf(shape, [dropouts]);
}

async function summaryOf(shape: MergeShape, runs: readonly (readonly Dropout[])[]) {
  let partitionsLost = 0;
  let maxAbsError: number | null = 0;
  let relativeError: number | null = 0;
  for (const dropouts of runs) {
    const merge = await measureMerge(shape, dropouts);
    partitionsLost += merge.partitionsLost;
    maxAbsError = orNull(maxAbsError, merge.maxAbsError);
    relativeError = orNull(relativeError, merge.relativeError);
  }
  return { merges: runs.length, partitionsLost, maxAbsError, relativeError };
}

/** The larger one; null when there is no figure for one of them. */
function orNull(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : Math.max(a, b);
}

function errorOf({ maxAbsError, relativeError }: Awaited<ReturnType<typeof measureMerge>>): number | null {
  return codec.kind === "f32" ? maxAbsError : relativeError;
}
