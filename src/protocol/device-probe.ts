/** What a machine found out about its devices: what `tah bench` prints, and what the daemon's choice rests on. */
import { z } from "zod";
import { deviceChoiceSchema } from "./device-report.ts";

/** A device in one of its precisions. */
export const detectedDeviceSchema = z.strictObject({
  ...deviceChoiceSchema.shape,
  /** What a person would call it. */
  name: z.string(),
  /** Whatever, when it changes, makes it another device: a GPU's driver, a processor's instruction set. */
  driver: z.string(),
  /** A GPU that the processor imitates. */
  software: z.boolean(),
});
export type DetectedDevice = Readonly<z.infer<typeof detectedDeviceSchema>>;

export const deviceResultSchema = z.discriminatedUnion("verdict", [
  z.strictObject({
    ...detectedDeviceSchema.shape,
    verdict: z.literal("passed"),
    /** Where the self-test's numbers were farthest from those of the float64 reference, |found − right| / |right|. */
    worst: z.strictObject({ tensor: z.string(), error: z.number(), limit: z.number() }),
    /** Largest deviation of the loss from that of float32 in a short training, as a share; null for float32 itself. */
    lossDeviation: z.number().nullable(),
    /** Through one representative block, forward and backward. */
    blockTokensPerSecond: z.number(),
    /** Of matrix products alone. */
    gemmGflops: z.number(),
  }),
  z.strictObject({ ...detectedDeviceSchema.shape, verdict: z.literal("refused"), reason: z.string() }),
]);
export type DeviceResult = Readonly<z.infer<typeof deviceResultSchema>>;
export type PassedDevice = Extract<DeviceResult, { verdict: "passed" }>;
export type RefusedDevice = Extract<DeviceResult, { verdict: "refused" }>;

export const deviceProbeSchema = z.strictObject({
  devices: z.array(deviceResultSchema).readonly(),
  chosen: deviceChoiceSchema,
  /** One sentence. */
  why: z.string(),
  threads: z.int().positive(),
  measuredAtMs: z.number(),
});
export type DeviceProbe = Readonly<z.infer<typeof deviceProbeSchema>>;
