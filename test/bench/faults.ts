/** `npm run bench -- faults`: what real processes stand that are killed, cut off, frozen and starved, and what it costs. */
import { z } from "zod";
import { presets } from "../../src/compute/model/presets.ts";
import type { ScenarioResult } from "./faults/judge.ts";
import { measureScenario } from "./faults/measure-scenario.ts";
import { scenarios } from "./faults/scenarios.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance } from "./shared/report.ts";

const names = ["all", ...scenarios.map(({ name }) => name)] as [string, ...string[]];
const flags = readFlags(
  z.object({
    scenario: z.enum(names).default("all"),
    seed: z.coerce.number().int().nonnegative().default(1),
    /** How long each scenario disturbs its swarm; its own time when left out. */
    minutes: z.coerce.number().positive().optional(),
    preset: z.enum(Object.keys(presets) as (keyof typeof presets)[]).default("demo"),
    stages: count.default(3),
    replicas: count.default(3),
    /** Leave logs and states behind, to be looked at. */
    keep: given,
    json: given,
  }),
);
const { scenario: wanted, json: _, ...options } = flags;

/** As shells have it for an interruption. */
const interruptedExitCode = 130;
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(interruptedExitCode));

const results: ScenarioResult[] = [];
for (const scenario of scenarios) {
  if (wanted !== "all" && wanted !== scenario.name) continue;
  const result = await measureScenario(scenario, options);
  progress(JSON.stringify(result));
  results.push(result);
}
const { preset, stages, replicas } = options;
printResult({ preset, stages, replicas, scenarios: results, ...provenance(flags.seed) });
