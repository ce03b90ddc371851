/** What a machine says about itself. Apart from `messages.ts`, so that a browser can read it without the wire encoding. */
import { z } from "zod";

const count = z.int().nonnegative();

/** What computes. The keys with defaults are those that machines once did not name. */
export const deviceChoiceSchema = z.strictObject({
  backend: z.enum(["native", "webgpu", "reference"]),
  /** Of the numbers that matrix products multiply. */
  precision: z.enum(["f32", "bf16", "f16"]).default("f32"),
  /** The GPU, as its driver names it; null: none, or the one that WebGPU prefers. */
  adapter: z.string().max(256).nullable().default(null),
});
export type DeviceChoice = Readonly<z.infer<typeof deviceChoiceSchema>>;

export const deviceReportSchema = z.strictObject({
  platform: z.string().max(64),
  cpu: z.string().max(128),
  cores: count,
  memoryBytes: count,
  /** What the miner may use of it. */
  memoryLimitBytes: count,
  /** Stages that the miner may be given at once: memory is not the only limit that a machine's owner may set. */
  maximumStages: z.int().positive().default(64),
  ...deviceChoiceSchema.shape,
  /** Through one representative block, forward and backward, as the probe measured it; null where the device was not measured. */
  blockTokensPerSecond: z.number().nonnegative().nullable().default(null),
});
export type DeviceReport = Readonly<z.infer<typeof deviceReportSchema>>;
