/** What is measured: one shape of model, trained in one way. Flags and keys are those of the peer programs. */
import { z } from "zod";
import { count, given, kebabCase } from "../shared/flags.ts";

/** The flags that ours and a peer's program share, and those that only ours has. */
export const configurationFlags = {
  threads: count.default(1),
  layers: count.default(1),
  d: count.default(512),
  heads: count.default(8),
  ff: count.default(1408),
  seq: count.default(256),
  batch: count.default(4),
  /** 0: bare blocks, as in a stage in the middle of the pipeline. */
  vocab: z.coerce.number().int().nonnegative().default(0),
  steps: count.default(10),
  dtype: z.enum(["f32", "bf16", "f16"]).default("f32"),
  adamw: given,
  backend: z.enum(["native", "webgpu", "reference"]).default("native"),
  /** As many as `heads` when left out. */
  keyValueHeads: count.optional(),
};
const ownFlags = new Set(["backend", "keyValueHeads"]);

export const configurationSchema = z.object(configurationFlags);
export type Configuration = Readonly<z.infer<typeof configurationSchema>>;

/** A configuration with the defaults of the flags for all that is left out. */
export function configured(given: Partial<Configuration>): Configuration {
  return configurationSchema.parse(given);
}

export function argumentsOf(configuration: Configuration, forPeer = false): string[] {
  return Object.entries(configuration).flatMap(([name, value]) => {
    if (value === undefined || value === false || (forPeer && ownFlags.has(name))) return [];
    return value === true ? [`--${kebabCase(name)}`] : [`--${kebabCase(name)}`, String(value)];
  });
}
