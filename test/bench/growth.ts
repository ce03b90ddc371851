/** `npm run bench -- growth`: whether a compute worker's resident memory grows while it trains. */
import { z } from "zod";
import { presets } from "../../src/compute/model/presets.ts";
import { measureGrowth } from "./growth/measure-growth.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, provenance, verdictOf } from "./shared/report.ts";

const target = { atMost: 1 };
const flags = readFlags(
  z.object({
    steps: count.default(2000),
    preset: z.enum(Object.keys(presets) as (keyof typeof presets)[]).default("demo"),
    backend: z.enum(["native", "webgpu", "reference"]).default("native"),
    dtype: z.enum(["f32", "bf16"]).default("f32"),
    threads: count.default(1),
    json: given,
  }),
);
const { dtype: precision, json: _, ...options } = flags;
const growth = await measureGrowth({ ...options, precision });
printResult({
  ...growth,
  targetGrowthPercent: target.atMost,
  verdict: verdictOf(growth.growthPercent, target),
  ...provenance(presets[flags.preset].training.seed),
});
