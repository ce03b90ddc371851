/**
 * Control messages between a miner (or an observer) and the gateway: msgpack maps in binary WebSocket messages, checked
 * against these schemas on arrival. `docs/protocol.md` tells the story in order; bulk data travels as frames (`frames.ts`)
 * and blobs (HTTP GET and PUT of /blobs/HASH on the same port, with the session's token as bearer).
 */
import { Packr } from "msgpackr";
import { z } from "zod";
import { deviceReportSchema } from "./device-report.ts";
import { FailureError, failureSchema } from "./failure.ts";
import { blobHashSchema, blobRefSchema, epochRefSchema, minerIdSchema, runIdSchema } from "./ids.ts";
import { ownerAnswerSchema, ownerCommandSchema } from "./owner-commands.ts";
import { modelConfigSchema, stageSpecSchema, trainingConfigSchema } from "./run-config.ts";
import { runSummarySchema, runUpdateSchema } from "./run-view.ts";

export type { DeviceReport } from "./device-report.ts";

/** Raised whenever an older peer could misunderstand a newer one. */
export const protocolVersion = 1;
/** A control message is small; anything longer is an attack or a bug. Sent the other way, an update may carry a whole run's history. */
export const maxClientMessageBytes = 64 << 10;
export const maxServerMessageBytes = 16 << 20;

const count = z.int().nonnegative();
const nonce = z.instanceof(Uint8Array).refine((bytes) => bytes.length === 32, { error: "a nonce has 32 bytes" });
const name = z.string().min(1).max(64);

/** One replica of a stage, as routing needs it. */
const rosterStageSchema = z.array(minerIdSchema).readonly();
export const rosterSchema = z.strictObject({
  /** Grows with every change; an older one never replaces a newer one. */
  version: count,
  /** For each stage, first stage first, the replicas that take part in this epoch. */
  stages: z.array(rosterStageSchema).readonly(),
});
export type Roster = Readonly<z.infer<typeof rosterSchema>>;

const datasetSchema = z.strictObject({ manifest: blobRefSchema });

export const clientMessageSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("hello"),
    protocol: count,
    software: z.string().max(64),
    /** An observer sees the run and never trains. */
    role: z.enum(["miner", "observer"]),
    minerId: minerIdSchema,
    name,
    /** Over `sessionProof(nonce, networkId, role)`. */
    signature: z.instanceof(Uint8Array),
  }),
  /** Asks for work. Sent after `welcome`, and again after a pause. */
  z.strictObject({ type: z.literal("join"), device: deviceReportSchema }),
  /** Gives the place up; the session stays open. */
  z.strictObject({ type: z.literal("leave"), reason: z.string().max(200) }),
  /** The replica holds the epoch's starting weights. */
  z.strictObject({ type: z.literal("ready"), at: epochRefSchema, weightsHash: blobHashSchema }),
  /** Telemetry, at most twice a second. Counts are since the epoch attempt's start. */
  z.strictObject({
    type: z.literal("progress"),
    at: epochRefSchema,
    tokensBackward: count,
    microbatchesDone: count,
    microbatchesLost: count,
    microbatchesInFlight: count,
    tokensPerSecond: z.number().nonnegative(),
    memoryBytes: count,
    /** Last stage only: over the tokens so far. */
    lossSumNats: z.number().nullable(),
  }),
  /** A source has all its microbatches back, or has given up on those that are lost. */
  z.strictObject({
    type: z.literal("source-done"),
    at: epochRefSchema,
    microbatchesDone: count,
    microbatchesLost: count,
  }),
  /** The replica's share of the merge lies in the blob store. */
  z.strictObject({
    type: z.literal("contributed"),
    at: epochRefSchema,
    blob: blobRefSchema,
    tokens: count,
    /** Last stage only, over `tokens`. */
    lossSumNats: z.number().nullable(),
  }),
  z.strictObject({ type: z.literal("merged"), at: epochRefSchema, weightsHash: blobHashSchema }),
  /** The merged state lies in the blob store, as `store-checkpoint` asked. */
  z.strictObject({ type: z.literal("stored"), at: epochRefSchema, weights: blobRefSchema, optimizer: blobRefSchema }),
  /** The replica lost its state or cannot go on with this epoch; it may be given a place again. */
  z.strictObject({ type: z.literal("failed"), at: epochRefSchema, failure: failureSchema }),
  /** Of a network's owner, answered by `owner-answer` with the same id: which one is the client's choice. */
  z.strictObject({ type: z.literal("owner-command"), id: count, command: ownerCommandSchema }),
]);
export type ClientMessage = Readonly<z.infer<typeof clientMessageSchema>>;

export const gatewayMessageSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("challenge"), protocol: count, networkId: z.string().max(64), nonce }),
  z.strictObject({
    type: z.literal("welcome"),
    /** Bearer for the blob store; valid while the session lives. */
    blobToken: z.string().max(128),
  }),
  /** What the client did was refused. The connection closes afterwards when `closing` is set. */
  z.strictObject({ type: z.literal("refused"), failure: failureSchema, closing: z.boolean() }),
  /** No place in any run at the moment. */
  z.strictObject({ type: z.literal("idle"), reason: z.string().max(200) }),
  /** Take this place: load the checkpoint (or, when null, draw the initial weights) and answer `ready`. */
  z.strictObject({
    type: z.literal("prepare"),
    at: epochRefSchema,
    stage: stageSpecSchema,
    model: modelConfigSchema,
    training: trainingConfigSchema,
    dataset: datasetSchema,
    checkpoint: z.strictObject({ weights: blobRefSchema, optimizer: blobRefSchema }).nullable(),
  }),
  /** Train. Source k of n in stage 0 sends the microbatches whose index is k modulo n, in order. */
  z.strictObject({ type: z.literal("start"), at: epochRefSchema, roster: rosterSchema }),
  /** Somebody left in mid-epoch. */
  z.strictObject({ type: z.literal("roster"), at: epochRefSchema, roster: rosterSchema }),
  /** Stop training, upload the contribution, answer `contributed`. */
  z.strictObject({ type: z.literal("upload"), at: epochRefSchema }),
  /** Average these, in this order, answer `merged`. */
  z.strictObject({
    type: z.literal("merge"),
    at: epochRefSchema,
    contributions: z.array(z.strictObject({ minerId: minerIdSchema, blob: blobRefSchema, tokens: count })).readonly(),
  }),
  /** Put the merged state into the blob store, answer `stored`. Asked of one replica per stage. */
  z.strictObject({ type: z.literal("store-checkpoint"), at: epochRefSchema }),
  /** Frames to this peer were not delivered. */
  z.strictObject({ type: z.literal("undeliverable"), peer: minerIdSchema }),
  z.strictObject({ type: z.literal("run-update"), update: runUpdateSchema }),
  /** What an epoch earned. `signature` is the network's, over `receiptBytes(receipt)`. */
  z.strictObject({
    type: z.literal("receipt"),
    receipt: z.lazy(() => receiptSchema),
    signature: z.instanceof(Uint8Array),
  }),
  /** All runs of the network: first after `welcome`, and whenever one of them has changed. */
  z.strictObject({ type: z.literal("runs"), runs: z.array(runSummarySchema).readonly() }),
  /** The run that this miner works for from now on; null: none. What it does for another one ends. */
  z.strictObject({ type: z.literal("assigned"), runId: runIdSchema.nullable() }),
  z.strictObject({ type: z.literal("owner-answer"), id: count, answer: ownerAnswerSchema }),
]);
export type GatewayMessage = Readonly<z.infer<typeof gatewayMessageSchema>>;

export const receiptSchema = z.strictObject({
  networkId: z.string().max(64),
  minerId: minerIdSchema,
  at: epochRefSchema,
  stage: count,
  /** Backward-passed tokens that went into the merge. */
  tokens: count,
  /** What was checked before crediting. */
  checks: z.array(z.enum(["merged-hash-agrees", "contribution-finite", "contribution-size"])).readonly(),
  microCredits: count,
  atMs: z.number(),
});
export type Receipt = Readonly<z.infer<typeof receiptSchema>>;

const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false });

/** First byte of a control message, apart from a frame's "T". */
const controlMarker = 0x01;

export function encodeMessage(message: ClientMessage | GatewayMessage): Uint8Array {
  return Buffer.concat([Buffer.of(controlMarker), packr.pack(message)]);
}

/** Throws `FailureError` (malformed-message, message-too-large). */
export function decodeClientMessage(bytes: Uint8Array): ClientMessage {
  return decode(bytes, clientMessageSchema, maxClientMessageBytes);
}

/** Throws `FailureError` (malformed-message, message-too-large). */
export function decodeGatewayMessage(bytes: Uint8Array): GatewayMessage {
  return decode(bytes, gatewayMessageSchema, maxServerMessageBytes);
}

function decode<T>(bytes: Uint8Array, schema: z.ZodType<T>, limitBytes: number): T {
  if (bytes.length > limitBytes)
    throw new FailureError(
      "message-too-large",
      `a control message of ${bytes.length} bytes; the limit is ${limitBytes}`,
    );
  if (bytes[0] !== controlMarker) throw new FailureError("malformed-message", "neither a control message nor a frame");
  let value: unknown;
  try {
    value = packr.unpack(bytes.subarray(1));
  } catch (cause) {
    throw new FailureError("malformed-message", "not valid msgpack", { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new FailureError("malformed-message", z.prettifyError(parsed.error).slice(0, 500));
  return parsed.data;
}

/** What the network signs in a receipt: its fields in a fixed order. */
export function receiptBytes(receipt: Receipt): Uint8Array {
  const { networkId, minerId, at, stage, tokens, checks, microCredits, atMs } = receipt;
  return Buffer.from(
    JSON.stringify([networkId, minerId, at.runId, at.epoch, at.attempt, stage, tokens, checks, microCredits, atMs]),
  );
}
