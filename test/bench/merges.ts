/**
 * `npm run bench -- merges`: what it costs the loss that replicas merge seldom, in few bits, or late. Trains one model in many ways on
 * the bundled text with the product's engines, codecs, error feedback and optimizers, without links between them; every way in a
 * process of its own with one thread, so that many run side by side.
 */
import { writeFile } from "node:fs/promises";
import { z } from "zod";
import { type Experiment, experiments, setNames } from "./merges/experiments.ts";
import { frontierPlot } from "./merges/frontier-plot.ts";
import { type Measured, type Measuring, repeat, type Tuned, tune } from "./merges/measure-experiment.ts";
import { RunPool } from "./merges/run-pool.ts";
import { effortOf, type Outcome, sequenceLength, sequencesPerStep, type Variant } from "./merges/schedule.ts";
import { startVariant } from "./merges/start-variant.ts";
import { frontierSeries, rowResult, rowsOf } from "./merges/summary.ts";
import { printTables } from "./merges/tables.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, rounded } from "./shared/report.ts";

const flags = readFlags(
  z.object({
    set: z.enum(["all", ...setNames]).default("all"),
    /** The learning rate is tuned with the first. */
    seeds: z
      .string()
      .regex(/^\d+(,\d+)*$/, "expected numbers with commas between them")
      .default("1,2"),
    tokens: count.default(500_000),
    width: count.default(128),
    layers: count.default(6),
    /** Multiples of it are tried. */
    learningRate: z.coerce.number().positive().default(1.5e-3),
    /** Runs at once. */
    jobs: count.default(1),
    /** Starts no run that would not end within them. */
    minutes: z.coerce.number().positive().optional(),
    /** Draws the frontier. */
    plot: z.string().optional(),
    json: given,
  }),
);

interface Task {
  readonly experiment: Experiment;
  readonly variant: Variant;
}

/** As shells have it for an interruption. */
const interruptedExitCode = 130;
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(interruptedExitCode));

const { set, tokens, width, layers, jobs, minutes, json } = flags;
const seeds = flags.seeds.split(",").map(Number);
const pool = new RunPool<Task, Outcome>({
  jobs,
  deadlineMs: minutes === undefined ? Number.POSITIVE_INFINITY : 60_000 * minutes,
  nowMs: () => performance.now(), // since this process began
  effortOf: ({ variant }) => effortOf(variant),
  run: train,
});
const sets = set === "all" ? setNames : [set];
const chosen = experiments.filter((experiment) => sets.some((one) => experiment.sets.includes(one)));
const tuned = new Map<string, Promise<Tuned<Outcome> | null>>();
const measured = new Map(await Promise.all(chosen.map(measure)));

const rows = rowsOf(new Map([...measured].flatMap(([experiment, one]) => (one === null ? [] : [[experiment, one]]))));
if (!json) printTables(rows, sets);
if (flags.plot !== undefined) await writeFile(flags.plot, frontierPlot(frontierSeries(rows)));
printResult({
  ...{ set, seeds, tokens, width, layers, sequencesPerStep, sequenceLength, jobs },
  seconds: rounded(performance.now() / 1000, 1),
  rows: rows.map(rowResult),
  /** No time was left for any of their runs, or for those of some seeds. */
  unfinished: chosen.filter((one) => (measured.get(one)?.results.size ?? 0) < seeds.length).map(({ name }) => name),
  ...provenance(seeds[0] ?? 0),
});

/** Ranks are places in the list: the runs of what is more important come first, with whichever seed. */
async function measure(experiment: Experiment, rank: number): Promise<[Experiment, Measured<Outcome> | null]> {
  const { schedule } = experiment;
  const measuring: Measuring<Outcome> = {
    seeds,
    baseLearningRate: flags.learningRate,
    train: (learningRate, seed) => {
      const variant = { schedule, learningRate, seed, tokens, width, layers };
      return pool.submit({ experiment, variant }, rank).catch(failed);
    },
    lossOf: ({ lossNats }) => lossNats,
    tuned: async (name) => (await tuned.get(name)) ?? null,
  };
  const found = tune(experiment.learningRate, measuring);
  tuned.set(experiment.name, found);
  const best = await found;
  return [experiment, best && (await repeat(best, measuring))];
}

/** The others are worth having nevertheless. */
function failed(error: unknown): null {
  progress(String(error));
  process.exitCode = 1;
  return null;
}

async function train({ experiment: { name }, variant }: Task): Promise<Outcome> {
  const outcome = await startVariant(variant);
  const { learningRate, seed } = variant;
  const loss = outcome.lossNats === null ? "diverged" : `${outcome.lossNats.toFixed(4)} nats`;
  progress(
    `${name}, learning rate ${rounded(learningRate, 5)}, seed ${seed}: ${loss}, ${rounded(outcome.seconds, 0)} s`,
  );
  if (json) printResult({ name, learningRate, seed, ...outcome });
  return outcome;
}
