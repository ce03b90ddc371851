/** What a network's owner asks of it, the same on the wire and in the local API: see "Owners" in docs/protocol.md. */
import { z } from "zod";
import { failureSchema } from "./failure.ts";
import { runIdSchema } from "./ids.ts";
import {
  compressionChoiceSchema,
  exchangeNameSchema,
  maximumWidth,
  mergeCodecNameSchema,
  rowFormatSchema,
} from "./run-config.ts";

/** Of the swarm's capacity, runs get shares in proportion to their weights. */
export const runWeightSchema = z.int().positive().max(1_000_000);

export const newRunSchema = z.strictObject({
  /** Undefined: the preset's name, followed by a number where it is taken. */
  runId: runIdSchema.optional(),
  preset: z.string().max(64),
  weight: runWeightSchema.default(1),
  /** Undefined: as many as the preset is made for. */
  stages: z.int().positive().optional(),
  /** Replicas per stage that the start waits for. */
  replicas: z.int().positive().default(2),
  /** A text file or folder on the orchestrator's own computer; undefined: the public-domain text that comes along. */
  data: z.string().min(1).max(4096).optional(),
  /** A folder there, with a model to go on with, or the name of a checkpoint of the network; undefined: weights drawn from the seed. */
  from: z.string().min(1).max(4096).optional(),
  /** Of that model, where its folder does not say. */
  tokenizer: z.string().max(64).optional(),
  /** Undefined: for ever. */
  tokens: z.int().positive().optional(),
  seed: z.int().nonnegative().optional(),
  mode: z.enum(["sync", "local-steps"]).optional(),
  /** As in `trainingConfigSchema`; undefined: as the preset has them. */
  optimizer: z.enum(["adamw", "nadam"]).optional(),
  stepsPerEpoch: z.int().positive().optional(),
  microbatchesPerStep: z.int().positive().optional(),
  sequencesPerMicrobatch: z.int().positive().optional(),
  maxStaleness: z.int().nonnegative().optional(),
  exchange: exchangeNameSchema.optional(),
  mergeCodec: mergeCodecNameSchema.optional(),
  exchangeLag: z.union([z.literal(0), z.literal(1)]).optional(),
  /** Channels that cross each stage boundary; 0 or undefined: all of them. */
  bottleneck: z.int().nonnegative().max(maximumWidth).optional(),
  bottleneckHidden: z.int().positive().max(maximumWidth).optional(),
  boundaryForward: rowFormatSchema.optional(),
  boundaryBackward: rowFormatSchema.optional(),
  /** `auto`: what is not said here is chosen for home links, and adapts to those that there are. */
  compression: compressionChoiceSchema.optional(),
});
export type NewRun = Readonly<z.infer<typeof newRunSchema>>;

export const ownerCommandSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("create-run"), run: newRunSchema }),
  z.strictObject({ type: z.literal("steer-run"), runId: runIdSchema, action: z.enum(["pause", "resume", "finish"]) }),
  z.strictObject({ type: z.literal("reweight-run"), runId: runIdSchema, weight: runWeightSchema }),
  /** Only of a run that rests. What it has paid out or owes stays in the ledger. */
  z.strictObject({ type: z.literal("delete-run"), runId: runIdSchema }),
]);
export type OwnerCommand = Readonly<z.infer<typeof ownerCommandSchema>>;
export type SteerAction = Extract<OwnerCommand, { type: "steer-run" }>["action"];

/** What came of a command: the run that it was about, or why nothing did. */
export const ownerAnswerSchema = z.discriminatedUnion("ok", [
  z.strictObject({ ok: z.literal(true), runId: runIdSchema }),
  z.strictObject({ ok: z.literal(false), failure: failureSchema }),
]);
export type OwnerAnswer = Readonly<z.infer<typeof ownerAnswerSchema>>;
