/** What is simulated: a run, the machines that train it, and what happens to them. Plain data, so that it can come from a file. */
import { z } from "zod";
import type { PresetName } from "../../compute/model/presets.ts";

const count = z.int().positive();
const positive = z.number().positive();
const perHour = z.number().nonnegative();

const presetNames = ["tiny", "demo", "25m", "100m", "1b", "8b", "100b"] as const satisfies readonly PresetName[];

/** Machines of one kind. Each draws its own speed and link around these medians. */
const machineKindSchema = z.strictObject({
  /** Relative to the other kinds. */
  share: positive,
  /** That the miner may use. */
  memoryBytes: count,
  /** Of matrix products, while it trains. */
  gigaflops: positive,
  uplinkBytesPerSecond: positive,
  downlinkBytesPerSecond: positive,
});
export type MachineKind = Readonly<z.infer<typeof machineKindSchema>>;

/** What happens to each miner, so many times per hour on average, and for how long on average. */
const disturbancesSchema = z.strictObject({
  /** Its process dies with all its state, and is started again. */
  crashes: z.strictObject({ perHour, minutes: positive }),
  /** The laptop is closed: the session ends, the state is kept. */
  sleeps: z.strictObject({ perHour, minutes: positive }),
  /** Its owner stops it in good order, and comes back later without its state. */
  leaves: z.strictObject({ perHour, minutes: positive }),
  /** Something else takes its processor: it trains so much slower. */
  slowdowns: z.strictObject({ perHour, minutes: positive, factor: z.number().gt(1) }),
});
export type Disturbances = Readonly<z.infer<typeof disturbancesSchema>>;

export const scenarioSchema = z.strictObject({
  seed: z.int().nonnegative(),
  hours: positive,
  miners: count,
  run: z.strictObject({
    preset: z.enum(presetNames),
    stages: count,
    minimumReplicas: count,
    sequencesPerMicrobatch: count,
    microbatchesPerStep: count,
    stepsPerEpoch: count,
  }),
  machines: z.array(machineKindSchema).min(1).readonly(),
  /** Spread of speeds and links around the medians, as the deviation of their logarithms. */
  spread: z.number().nonnegative(),
  /** How many times smaller activations and their gradients travel than as f32, as which they travel today. */
  activationCompression: z.number().min(1),
  /** From a miner to the orchestrator or another miner. */
  latencyMs: z.number().nonnegative(),
  disturbances: disturbancesSchema,
});
export type Scenario = Readonly<z.infer<typeof scenarioSchema>>;

const gibibyte = 2 ** 30;
const mebibyte = 2 ** 20;

/** Laptops, desktops with a graphics card, and a few workstations, at homes with a fibre connection. */
const homeMachines: readonly MachineKind[] = [
  { share: 6, memoryBytes: 4 * gibibyte, gigaflops: 400, ...link(8, 25) },
  { share: 3, memoryBytes: 8 * gibibyte, gigaflops: 3000, ...link(12, 40) },
  { share: 1, memoryBytes: 20 * gibibyte, gigaflops: 12_000, ...link(25, 100) },
];

function link(uplink: number, downlink: number) {
  return { uplinkBytesPerSecond: uplink * mebibyte, downlinkBytesPerSecond: downlink * mebibyte };
}

export const undisturbed: Disturbances = {
  crashes: { perHour: 0, minutes: 1 },
  sleeps: { perHour: 0, minutes: 1 },
  leaves: { perHour: 0, minutes: 1 },
  slowdowns: { perHour: 0, minutes: 1, factor: 2 },
};

/** Everyone crashes once a day, and is closed, stopped and busy with something else a few times. */
const homeLife: Disturbances = {
  crashes: { perHour: 1 / 24, minutes: 2 },
  sleeps: { perHour: 1 / 8, minutes: 20 },
  leaves: { perHour: 1 / 12, minutes: 120 },
  slowdowns: { perHour: 1 / 6, minutes: 15, factor: 10 },
};

export function homeScenario(changed: Partial<Scenario> = {}): Scenario {
  return {
    seed: 1,
    hours: 24,
    miners: 2000,
    run: {
      preset: "1b",
      stages: 16,
      minimumReplicas: 2,
      sequencesPerMicrobatch: 1,
      microbatchesPerStep: 64,
      stepsPerEpoch: 32,
    },
    machines: homeMachines,
    spread: 0.4,
    activationCompression: 64,
    latencyMs: 40,
    disturbances: homeLife,
    ...changed,
  };
}
