/**
 * `npm run bench -- swarm`: a swarm at emulated homes against one process that trains the same model on the same samples, on the same
 * processors: how fast, how much worse for the same tokens, and how much crosses the lines. The swarm runs in the middle of the single
 * process's training, so that both meet the same machine.
 */
import { readFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { presets } from "../../src/compute/model/presets.ts";
import { type RunOptions, trainingOf } from "../../src/network/run-options.ts";
import { microbatchesInStep } from "../../src/protocol/source-shares.ts";
import { EmulatedHomes } from "../lab/homes/emulated-homes.ts";
import { lineFlags, lineOf } from "../lab/homes/line-flags.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, rounded } from "./shared/report.ts";
import { BenchSwarm, type Course } from "./swarm/bench-swarm.ts";
import { readRunText, trainCentralised, validationSample } from "./swarm/centralised.ts";
import { parseCompression } from "./swarm/compression.ts";
import { tokensPerSecond } from "./swarm/figures.ts";
import { resultOf } from "./swarm/result.ts";

const presetNames = Object.keys(presets) as (keyof typeof presets)[];
const flags = readFlags(
  z.object({
    stages: count.default(3),
    replicas: count.default(2),
    preset: z.enum(presetNames).default("demo"),
    tokens: count.default(200_000),
    seed: z.coerce.number().int().nonnegative().default(1),
    /** on, off, or as in `bottleneck=32,forward=int8,backward=int4,exchange=dense2,lag=1,merge=dense2`. */
    compression: z.string().default("on"),
    /** Measure a swarm without compression, too. */
    sideBySide: given,
    /** Replace what the preset says. */
    sequenceLength: count.optional(),
    sequencesPerMicrobatch: count.optional(),
    microbatchesPerStep: count.optional(),
    stepsPerEpoch: count.optional(),
    /** Of the swarm and, unless it is given one of its own, of the single process. */
    learningRate: z.coerce.number().positive().optional(),
    centralisedLearningRate: z.coerce.number().positive().optional(),
    warmupSteps: count.optional(),
    precision: z.enum(["f32", "bf16"]).default("f32"),
    /** none: all share this computer's loopback, and nothing but the processor limits them. */
    links: z.enum(["homes", "none"]).default("homes"),
    /** Miners reach each other directly where they can. The gateway then does not see what crosses, and the miners count it. */
    direct: given,
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
const line = flags.links === "none" ? null : lineOf(flags);
const impossible = line === null ? null : await EmulatedHomes.impossibleBecause();
if (impossible !== null) {
  progress(`skipped: ${impossible}; --links none needs no emulated homes`);
  printResult({ skippedBecause: impossible, ...provenance(seed) });
  process.exit(0);
}

/** Of the single process. Swarms that exchange steps have a learning rate to go with it, unless one is asked for. */
const training = trainingOf(runOptions("off"));
const tokensPerEpoch =
  microbatchesInStep(replicas, training.microbatchesPerStep) *
  training.sequencesPerMicrobatch *
  training.sequenceLength *
  training.stepsPerEpoch;
const epochs = Math.ceil(flags.tokens / tokensPerEpoch);

const compressed = await open(flags.compression);
const uncompressed = flags.sideBySide ? await open("off") : null;
const swarms = uncompressed === null ? [compressed] : [compressed, uncompressed];
try {
  const { definition } = compressed;
  const text = await readRunText(definition, join(compressed.folder, "network"));
  const sample = validationSample(text, training.sequenceLength, flags.validationSequences);
  const courses = new Map<BenchSwarm, Course>();
  const atHalf = async () => {
    for (const swarm of swarms) {
      progress("a swarm is starting");
      courses.set(swarm, await swarm.train());
    }
  };
  const { learningRate } = training;
  const alone = { ...training, learningRate: flags.centralisedLearningRate ?? learningRate };
  const options = { definition, training: alone, text, sample, epochs, threads, precision, atHalf };
  const centralised = await trainCentralised(options);
  const result = async (swarm: BenchSwarm) => {
    const course = courses.get(swarm);
    if (course === undefined) throw new Error("the swarm was not measured");
    return resultOf(swarm, course, centralised, { sample, threads });
  };
  printResult({
    preset,
    stages,
    replicas,
    precision,
    line,
    congestionControl: line && (flags.congestionControl ?? systemCongestionControl()),
    epochs,
    tokensPerEpoch,
    validationTokens: sample.tokens.length,
    model: definition.model,
    training: definition.training,
    centralised: {
      threads,
      learningRate: alone.learningRate,
      tokensPerSecond: rounded(tokensPerSecond(centralised.curve), 1),
      validationLossNats: centralised.curve.at(-1)?.validationLossNats,
      // As those of the swarm, without the first epoch.
      processorSeconds: rounded(centralised.processorSeconds, 2),
      secondsPerMillionTokens: rounded((1e6 * centralised.processorSeconds) / ((epochs - 1) * tokensPerEpoch), 1),
      curve: centralised.curve,
    },
    compression: flags.compression,
    ...(await result(compressed)),
    ...(uncompressed && { uncompressed: await result(uncompressed) }),
    ...provenance(seed),
  });
} finally {
  for (const swarm of swarms) await swarm.close();
}

function runOptions(compression: string): RunOptions {
  const { sequenceLength, sequencesPerMicrobatch, microbatchesPerStep, stepsPerEpoch, learningRate, warmupSteps } =
    flags;
  const changes = {
    sequenceLength,
    sequencesPerMicrobatch,
    microbatchesPerStep,
    stepsPerEpoch,
    learningRate,
    warmupSteps,
  };
  const changed = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const compressed = parseCompression(compression, presets[preset].model.width);
  return { preset, stages, replicas, seed, ...compressed, training: changed };
}

function open(compression: string): Promise<BenchSwarm> {
  const run = { ...runOptions(compression), tokens: epochs * tokensPerEpoch };
  const { congestionControl, direct, keep } = flags;
  return BenchSwarm.open({ run, miners: stages * replicas, precision, line, congestionControl, direct, keep });
}

/** Which new namespaces take over. */
function systemCongestionControl(): string {
  return readFileSync("/proc/sys/net/ipv4/tcp_congestion_control", "utf8").trim();
}
