/**
 * `npm run bench -- simulate --miners 2000 --hours 24`: the orchestrator's core leads a swarm of virtual miners that come, go, crash,
 * sleep and slow down, in virtual time; and for comparison the same swarm with nobody disturbed.
 */
import { z } from "zod";
import { homeScenario, scenarioSchema, undisturbed } from "../../src/network/simulator/scenario.ts";
import { simulate } from "../../src/network/simulator/simulation.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, rounded, verdictOf } from "./shared/report.ts";

const usual = homeScenario();
const flags = readFlags(
  z.object({
    miners: count.default(usual.miners),
    hours: z.coerce.number().positive().default(usual.hours),
    preset: scenarioSchema.shape.run.shape.preset.default(usual.run.preset),
    stages: count.default(usual.run.stages),
    /** Optimizer steps between two merges. */
    steps: count.default(usual.run.stepsPerEpoch),
    /** Of the undisturbed swarm, for the goodput. */
    undisturbedHours: z.coerce.number().positive().default(4),
    seed: z.coerce.number().int().nonnegative().default(usual.seed),
    json: given,
  }),
);

/** Of a virtual day of 2,000 miners; nothing is asked of a smaller swarm or a shorter time. */
const targets = { seconds: { atMost: 60 } } as const;

const { miners, hours, seed, preset, stages, steps } = flags;
const scenario = homeScenario({ miners, hours, seed, run: { ...usual.run, preset, stages, stepsPerEpoch: steps } });
const disturbed = timed(() => simulate(scenario));
const calm = timed(() =>
  simulate({ ...scenario, hours: Math.min(hours, flags.undisturbedHours), disturbances: undisturbed }),
);

const { outcome, seconds, processorSeconds } = disturbed;
const goodput = outcome.tokensPerSecond / calm.outcome.tokensPerSecond;
const result = {
  benchmark: "simulate",
  ...provenance(seed),
  scenario,
  ...outcome,
  tokensPerSecond: rounded(outcome.tokensPerSecond, 1),
  movesPerHour: rounded(outcome.movesPerHour, 2),
  contributors: rounded(outcome.contributors, 1),
  undisturbed: {
    virtualHours: calm.outcome.virtualHours,
    epochs: calm.outcome.epochs,
    tokensPerSecond: rounded(calm.outcome.tokensPerSecond, 1),
    seconds: rounded(calm.seconds, 1),
  },
  goodput: rounded(goodput, 3),
  seconds: rounded(seconds, 1),
  /** Of one core: what `seconds` would be on a machine that has nothing else to do. */
  processorSeconds: rounded(processorSeconds, 1),
  eventsPerSecond: Math.round(outcome.events / seconds),
  targets,
  verdicts: { seconds: verdictOf(miners >= usual.miners && hours >= usual.hours ? seconds : null, targets.seconds) },
};
if (flags.json) printResult(result);
else progress(JSON.stringify(result, null, 2));

function timed<T>(run: () => T): { outcome: T; seconds: number; processorSeconds: number } {
  const [startMs, start] = [performance.now(), process.cpuUsage()];
  const value = run();
  const { user, system } = process.cpuUsage(start);
  return { outcome: value, seconds: (performance.now() - startMs) / 1000, processorSeconds: (user + system) / 1e6 };
}
