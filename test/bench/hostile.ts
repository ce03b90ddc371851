/** `npm run bench -- hostile`: what attackers cost a network in training, and whether it says what it refused. */
import { z } from "zod";
import { presets } from "../../src/compute/model/presets.ts";
import { type Attack, attacks } from "./hostile/attacks.ts";
import { HostileSwarm } from "./hostile/hostile-swarm.ts";
import type { AttackResult } from "./hostile/judge.ts";
import { measureAttack } from "./hostile/measure-attack.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance } from "./shared/report.ts";

const names = attacks.map(({ name }) => name);
const flags = readFlags(
  z.object({
    /** One, several (with commas between them), or `all`. */
    attack: z
      .string()
      .default("all")
      .transform((text) => (text === "all" ? names : text.split(",")))
      .pipe(z.array(z.enum(names))),
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

/** One attack that cannot be measured does not keep the others from it. */
const results: (AttackResult | { readonly attack: string; readonly skippedBecause: string })[] = [];
for (const over of ["gateway", "direct"] as const) {
  let swarm: HostileSwarm | null = null;
  for (const attack of attacks.filter((one) => one.over === over && flags.attack.includes(one.name))) {
    try {
      swarm ??= await startSwarm(over);
      results.push(await measureAttack(attack, swarm, rounds));
    } catch (error) {
      results.push({ attack: attack.name, skippedBecause: error instanceof Error ? error.message : String(error) });
      // What is left of it may not train any more.
      await swarm?.close({ keep: true });
      swarm = null;
    }
    progress(JSON.stringify(results.at(-1)));
  }
  await swarm?.close({ keep });
  if (keep && swarm !== null) progress(`all logs and states are in ${swarm.folder}`);
}
const miners = { honest: stages * replicas, rogue: 1, maxUploadMbps };
printResult({ preset, stages, replicas, stepsPerEpoch, miners, attacks: results, ...provenance(seed) });

function startSwarm(over: Attack["over"]): Promise<HostileSwarm> {
  progress(`a swarm is starting that goes over ${over === "direct" ? "direct connections" : "the gateway"}`);
  const run = { preset, stages, replicas, seed, training: { stepsPerEpoch }, mergeCodec: "dense2" } as const;
  return HostileSwarm.start({ run, miners: stages * replicas, maxUploadMbps, direct: over === "direct" });
}
