/** `npm run bench -- hostile`: what attackers cost a network in training, and whether it says what it refused. */
import { z } from "zod";
import { presets } from "../../src/compute/model/presets.ts";
import { attacks } from "./hostile/attacks.ts";
import { HostileSwarm } from "./hostile/hostile-swarm.ts";
import type { AttackResult } from "./hostile/judge.ts";
import { measureAttack } from "./hostile/measure-attack.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance } from "./shared/report.ts";

const names = ["all", ...attacks.map(({ name }) => name)] as [string, ...string[]];
const flags = readFlags(
  z.object({
    attack: z.enum(names).default("all"),
    /** Attacked epochs of each attack, with an undisturbed one before and after each. */
    rounds: count.default(3),
    preset: z.enum(Object.keys(presets) as (keyof typeof presets)[]).default("demo"),
    stages: count.default(2),
    replicas: count.default(2),
    stepsPerEpoch: count.default(12),
    /** Of each miner: less than what would keep the processors busy. */
    maxUploadMbps: z.coerce.number().positive().default(16),
    seed: z.coerce.number().int().nonnegative().default(1),
    /** Leave logs and states behind, to be looked at. */
    keep: given,
    json: given,
  }),
);
const { preset, stages, replicas, stepsPerEpoch, maxUploadMbps, rounds, seed, keep } = flags;

/** As shells have it for an interruption. */
const interruptedExitCode = 130;
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(interruptedExitCode));

if (process.platform !== "linux") {
  printResult({ skippedBecause: "processes are measured by /proc, which only Linux has", ...provenance(seed) });
  process.exit(0);
}

const results: AttackResult[] = [];
for (const over of ["gateway", "direct"] as const) {
  const wanted = attacks.filter((one) => one.over === over && (flags.attack === "all" || one.name === flags.attack));
  if (wanted.length === 0) continue;
  progress(`a swarm is starting that goes over ${over === "direct" ? "direct connections" : "the gateway"}`);
  const run = { preset, stages, replicas, seed, training: { stepsPerEpoch }, mergeCodec: "dense2" } as const;
  const swarm = await HostileSwarm.start({ run, miners: stages * replicas, maxUploadMbps, direct: over === "direct" });
  try {
    for (const attack of wanted) {
      const result = await measureAttack(attack, swarm, rounds);
      progress(JSON.stringify(result));
      results.push(result);
    }
  } finally {
    await swarm.close({ keep });
    if (keep) progress(`all logs and states are in ${swarm.folder}`);
  }
}
const miners = { honest: stages * replicas, rogue: 1, maxUploadMbps };
printResult({ preset, stages, replicas, stepsPerEpoch, miners, attacks: results, ...provenance(seed) });
