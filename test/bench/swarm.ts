/**
 * `npm run bench -- swarm`: a swarm at emulated homes against one process that trains the same model on the same samples, on the same
 * processors: how fast, how much worse for the same tokens, and how much crosses the links. The swarm runs in the middle of the single
 * process's training, so that both meet the same machine.
 */
import os from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { presets } from "../../src/compute/model/presets.ts";
import { trainingOf } from "../../src/network/run-options.ts";
import { microbatchesInStep } from "../../src/protocol/source-shares.ts";
import { EmulatedHomes } from "../lab/homes/emulated-homes.ts";
import { lineFlags, lineOf } from "../lab/homes/line-flags.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, rounded } from "./shared/report.ts";
import { BenchSwarm, type Course } from "./swarm/bench-swarm.ts";
import { readRunText, trainCentralised, validateCheckpoints, validationSample } from "./swarm/centralised.ts";
import {
  compare,
  lineFigures,
  processorFigures,
  tokensPerSecond,
  trafficFigures,
  type Validated,
} from "./swarm/figures.ts";

const presetNames = Object.keys(presets) as (keyof typeof presets)[];
const flags = readFlags(
  z.object({
    stages: count.default(3),
    replicas: count.default(2),
    preset: z.enum(presetNames).default("demo"),
    tokens: count.default(200_000),
    seed: z.coerce.number().int().nonnegative().default(1),
    /** Replace what the preset says. */
    sequenceLength: count.optional(),
    sequencesPerMicrobatch: count.optional(),
    microbatchesPerStep: count.optional(),
    stepsPerEpoch: count.optional(),
    learningRate: z.coerce.number().positive().optional(),
    warmupSteps: count.optional(),
    precision: z.enum(["f32", "bf16"]).default("f32"),
    /** none: all share this computer's loopback, and nothing but the processor limits them. */
    links: z.enum(["homes", "none"]).default("homes"),
    ...lineFlags,
    /** Of the single process. */
    threads: count.default(os.availableParallelism()),
    validationSequences: count.default(64),
    /** Leave logs and states behind, to be looked at. */
    keep: given,
    json: given,
  }),
);

/** As shells have it for an interruption. */
const interruptedExitCode = 130;
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(interruptedExitCode));

const { preset, stages, replicas, seed, precision, threads } = flags;
const { sequenceLength, sequencesPerMicrobatch, microbatchesPerStep, stepsPerEpoch, learningRate, warmupSteps } = flags;
const changes = {
  sequenceLength,
  sequencesPerMicrobatch,
  microbatchesPerStep,
  stepsPerEpoch,
  learningRate,
  warmupSteps,
};
const asked = Object.entries(changes).filter(([, value]) => value !== undefined);
const options = { preset, stages, replicas, seed, training: Object.fromEntries(asked) };
const training = trainingOf(options);
const tokensPerEpoch =
  microbatchesInStep(replicas, training.microbatchesPerStep) *
  training.sequencesPerMicrobatch *
  training.sequenceLength *
  training.stepsPerEpoch;
const epochs = Math.ceil(flags.tokens / tokensPerEpoch);

const line = flags.links === "none" ? null : lineOf(flags);
const impossible = line === null ? null : await EmulatedHomes.impossibleBecause();
if (impossible !== null) {
  progress(`skipped: ${impossible}; --links none needs no emulated homes`);
  printResult({ skippedBecause: impossible, ...provenance(seed) });
  process.exit(0);
}

const swarm = await BenchSwarm.open({
  run: { ...options, tokens: epochs * tokensPerEpoch },
  miners: stages * replicas,
  precision,
  line,
});
const { definition } = swarm;
try {
  const text = await readRunText(definition, join(swarm.folder, "network"));
  const sample = validationSample(text, training.sequenceLength, flags.validationSequences);
  const courses: Course[] = [];
  const atHalf = async () => {
    progress("the swarm is starting");
    courses.push(await swarm.train());
  };
  const centralised = await trainCentralised({ definition, text, sample, epochs, threads, precision, atHalf });
  const [course] = courses;
  if (course === undefined) throw new Error("the swarm was not measured");
  const { keptFolder } = swarm;
  const losses = await validateCheckpoints(definition, course.checkpoints, sample, { keptFolder, threads });
  const secondsOf = (atMs: number) => (atMs - course.training.atMs) / 1000;
  const paces = course.epochs.map(({ tokens, atMs }) => ({ tokens, seconds: secondsOf(atMs) }));
  const curve: Validated[] = [...losses].flatMap(([{ tokens }, validationLossNats]) => {
    const pace = paces.find((one) => one.tokens === tokens);
    return pace === undefined ? [] : [{ ...pace, validationLossNats }];
  });
  const comparison = compare(centralised.curve, curve, paces);
  printResult({
    preset,
    stages,
    replicas,
    precision,
    training,
    line,
    epochs,
    tokensPerEpoch,
    validationTokens: sample.tokens.length,
    centralised: {
      threads,
      tokensPerSecond: rounded(tokensPerSecond(centralised.curve), 1),
      validationLossNats: centralised.curve.at(-1)?.validationLossNats,
      secondsToLoss: comparison.secondsToLoss.centralised,
      processorSeconds: rounded(centralised.processorSeconds, 2),
      curve: centralised.curve,
    },
    swarm: {
      tokensPerSecond: rounded(tokensPerSecond(paces), 1),
      validationLossNats: curve.at(-1)?.validationLossNats,
      secondsToLoss: comparison.secondsToLoss.swarm,
      startSeconds: rounded((course.training.atMs - course.startedAtMs) / 1000, 1),
      firstEpochSeconds: rounded(paces[0]?.seconds ?? Number.NaN, 1),
      microbatchesLost: course.microbatchesLost,
      ...trafficFigures(definition, course),
      lines: lineFigures(course),
      processor: processorFigures(course),
      curve,
    },
    efficiency: rounded(comparison.efficiency, 3),
    lossGapPercent: rounded(comparison.lossGapPercent, 2),
    timeToLossRatio: comparison.timeToLossRatio && rounded(comparison.timeToLossRatio, 3),
    lossNats: comparison.lossNats,
    ...provenance(seed),
  });
} finally {
  swarm.dispose({ keep: flags.keep });
}
