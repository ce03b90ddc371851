/** What is trained and compared: how replicas or stages step and merge, and with which learning rate and seed. */
import { z } from "zod";
import { assertNever } from "../../../src/protocol/assert-never.ts";
import { vectorCodecSchema } from "../../../src/protocol/run-config.ts";

const count = z.int().positive();

const scheduleSchema = z.discriminatedUnion("kind", [
  /** All of every step's sequences in one process: what all others are held against. */
  z.strictObject({ kind: z.literal("one-process") }),
  /** One process that trains on one replica's share of every step's sequences, and on no others. */
  z.strictObject({ kind: z.literal("lone-replica"), replicas: count }),
  /** The sequences are dealt out among replicas, each of which holds the whole model. */
  z.strictObject({
    kind: z.literal("replicas"),
    replicas: count,
    /** `sync`: gradients are merged, at every step. */
    mode: z.enum(["sync", "local-steps"]),
    /** Steps between two merges. */
    stepsPerEpoch: count,
    merge: vectorCodecSchema,
    exchange: z.strictObject({ codec: vectorCodecSchema, lag: z.union([z.literal(0), z.literal(1)]) }).nullable(),
    /** Of AdamW's second moment; as presets have it where it is left out. */
    beta2: z.number().min(0).lt(1).optional(),
  }),
  /** One pipeline on all of the sequences, whose stages step on gradients of so many steps ago each. */
  z.strictObject({
    kind: z.literal("delayed"),
    optimizer: z.enum(["adamw", "nadam"]),
    delays: z.array(z.int().nonnegative()).min(1).readonly(),
  }),
]);
export type Schedule = Readonly<z.infer<typeof scheduleSchema>>;
export type ReplicasSchedule = Extract<Schedule, { kind: "replicas" }>;
export type DelayedSchedule = Extract<Schedule, { kind: "delayed" }>;

/** One training run, as a process of its own is told of it. */
export const variantSchema = z.strictObject({
  schedule: scheduleSchema,
  learningRate: z.number().positive(),
  seed: z.int().nonnegative(),
  /** Of the one process. */
  tokens: count,
  width: count,
  layers: count,
});
export type Variant = Readonly<z.infer<typeof variantSchema>>;

const bytesPerParameter = z.number().nonnegative().nullable();

/** What a run came to. */
export const outcomeSchema = z.strictObject({
  /** Of the merged model, per token of text that nobody was trained on; null: it diverged. */
  lossNats: z.number().nullable(),
  parameters: count,
  steps: count,
  /** Mean bytes of the payloads that one replica contributes to a merge, and of the averages; null: there are none. */
  contributionBytesPerParameter: bytesPerParameter,
  averageBytesPerParameter: bytesPerParameter,
  /** Of what one replica's step moved. */
  exchangeBytesPerParameter: bytesPerParameter,
  seconds: z.number().nonnegative(),
});
export type Outcome = Readonly<z.infer<typeof outcomeSchema>>;

/** Sequences of one step, in all replicas together. */
export const sequencesPerStep = 8;
export const sequenceLength = 128;

export function stepsOf({ tokens }: Pick<Variant, "tokens">): number {
  return Math.ceil(tokens / (sequencesPerStep * sequenceLength));
}

/** Processor seconds that a run is expected to take, next to others: as measured on one core, with 1.3 M parameters. */
export function effortOf(variant: Variant): number {
  return 3 + stepsOf(variant) * effortOfStep(variant.schedule);
}

const [trainingSeconds, mergeSeconds, exchangeSeconds] = [0.1, 0.0375, 0.04];

function effortOfStep(schedule: Schedule): number {
  switch (schedule.kind) {
    case "one-process":
      return trainingSeconds;
    case "lone-replica":
      return trainingSeconds / schedule.replicas;
    case "replicas": {
      const { replicas, stepsPerEpoch, exchange } = schedule;
      return 1.2 * trainingSeconds + replicas * (mergeSeconds / stepsPerEpoch + (exchange ? exchangeSeconds : 0));
    }
    case "delayed":
      return 1.3 * trainingSeconds;
    default:
      return assertNever(schedule);
  }
}
