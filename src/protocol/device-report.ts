/** What a machine says about itself. Apart from `messages.ts`, so that a browser can read it without the wire encoding. */
import { z } from "zod";

const count = z.int().nonnegative();

export const deviceReportSchema = z.strictObject({
  platform: z.string().max(64),
  cpu: z.string().max(128),
  cores: count,
  memoryBytes: count,
  /** What the miner may use of it. */
  memoryLimitBytes: count,
  backend: z.enum(["native", "webgpu", "reference"]),
});
export type DeviceReport = Readonly<z.infer<typeof deviceReportSchema>>;
