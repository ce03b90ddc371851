/**
 * Control messages between a miner (or an observer) and the gateway: msgpack maps in binary WebSocket messages, checked
 * against these schemas on arrival, and signed but for the first ones (`control-channel.ts`). `docs/protocol.md` tells the
 * story in order; bulk data travels as frames (`frames.ts`) and blobs (HTTP GET and PUT of /blobs/HASH on the same port, with
 * the session's token as bearer).
 */
import { Packr } from "msgpackr";
import { z } from "zod";
import { accusationSchema } from "./accusation.ts";
import { admissionNeedSchema, admissionProofSchema } from "./admission.ts";
import { deviceReportSchema } from "./device-report.ts";
import { FailureError, failureSchema } from "./failure.ts";
import { hotkeyProofSchema } from "./hotkey-proof.ts";
import {
  blobHashSchema,
  blobRefSchema,
  epochRefSchema,
  minerIdSchema,
  type PlaceRef,
  placeRefSchema,
  runIdSchema,
} from "./ids.ts";
import { linkReportSchema } from "./link-report.ts";
import { ownerAnswerSchema, ownerCommandSchema } from "./owner-commands.ts";
import { payoutAddressSchema } from "./payout-address.ts";
import { boundaryFormatsSchema, modelConfigSchema, stageSpecSchema, trainingConfigSchema } from "./run-config.ts";
import { runSummarySchema, runUpdateSchema } from "./run-view.ts";

export type { DeviceReport } from "./device-report.ts";

/** Raised whenever an older peer could misunderstand a newer one. */
export const protocolVersion = 5;
/** A control message is small; anything longer is an attack or a bug. Sent the other way, an update may carry a whole run's history. */
export const maxClientMessageBytes = 64 << 10;
export const maxServerMessageBytes = 16 << 20;

const count = z.int().nonnegative();
const nonce = z.instanceof(Uint8Array).refine((bytes) => bytes.length === 32, { error: "a nonce has 32 bytes" });
const name = z.string().min(1).max(64);

/** One replica of a stage, as routing needs it. */
export const rosterReplicaSchema = z.strictObject({
  minerId: minerIdSchema,
  /** Its share of the stage's work, relative to the other replicas'. */
  weight: z.int().positive(),
});
export type RosterReplica = Readonly<z.infer<typeof rosterReplicaSchema>>;
const rosterStageSchema = z.array(rosterReplicaSchema).readonly();
export const rosterSchema = z.strictObject({
  /** Grows with every change; an older one never replaces a newer one. */
  version: count,
  /** For each stage, first stage first, the replicas that take part in this epoch and live. */
  stages: z.array(rosterStageSchema).readonly(),
  /** The first stage's as the epoch began, whoever of them lives: the shares follow from them (`source-shares.ts`), also for who starts late. */
  sources: rosterStageSchema,
});
export type Roster = Readonly<z.infer<typeof rosterSchema>>;

/** `signature` is the network's, over `rosterBytes(at, roster)`. */
const signedRosterShape = { at: placeRefSchema, roster: rosterSchema, signature: z.instanceof(Uint8Array) };

/** How a stage's output looked where it was squeezed through its boundary: a norm that runs away shows there first. */
export const boundaryHealthSchema = z.strictObject({
  /** Root mean square of the stream's values. */
  rms: z.number().nonnegative(),
  /** Of what was rounded away, relative to `rms`. */
  relativeError: z.number().nonnegative(),
});
export type BoundaryHealth = Readonly<z.infer<typeof boundaryHealthSchema>>;

/** Of one `reduced`: slices, and contributors that are missing in all of these together. What is more goes into another one. */
export const reducedLimits = { slices: 256, missing: 4096 } as const;
/** `host`: an IPv4 address, since others are not spoken there. */
const udpAddressSchema = z.strictObject({ host: z.ipv4(), port: z.int().min(1).max(65_535) });
export type UdpAddress = Readonly<z.infer<typeof udpAddressSchema>>;

const datasetSchema = z.strictObject({ manifest: blobRefSchema });

/** Of a stage, as far as anybody may want it again: so many of the last ones. */
export const mostPastMerges = 8;
/** Who may be asked for them. */
export const mostMergers = 8;
/** How a stage's weights came about from those of the epoch before: who has those makes these of the merged slices, bit for bit. */
export const pastMergeSchema = z.strictObject({
  /** The weights before it. */
  from: blobHashSchema,
  /** The list of the merged slices, as a blob (`sliceListBytes`). */
  slices: blobHashSchema,
  /** As many as `upload` listed: the partitions follow. */
  replicas: z
    .int()
    .positive()
    .max(1 << 16),
  /** All contributors' together. */
  tokens: count,
});
export type PastMerge = Readonly<z.infer<typeof pastMergeSchema>>;

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
  /** What `admission` asked for, between `hello` and `welcome`. */
  z.strictObject({ type: z.literal("admission-proof"), proof: admissionProofSchema }),
  /**
   * Asks for work. Sent after `welcome`, again after a pause, and again while nothing is heard. `held`: the places whose state this
   * miner still holds after a session was lost.
   */
  z.strictObject({
    type: z.literal("join"),
    device: deviceReportSchema,
    held: z.array(placeRefSchema).max(64).readonly(),
  }),
  /** Gives the place up; the session stays open. */
  z.strictObject({ type: z.literal("leave"), reason: z.string().max(200) }),
  /** The replica holds the epoch's starting weights. */
  z.strictObject({ type: z.literal("ready"), at: placeRefSchema, weightsHash: blobHashSchema }),
  /** Telemetry, at most twice a second. Counts are since the epoch attempt's start. */
  z.strictObject({
    type: z.literal("progress"),
    at: placeRefSchema,
    tokensBackward: count,
    microbatchesDone: count,
    microbatchesLost: count,
    microbatchesInFlight: count,
    /** Sent to another replica because the first one did not take it, or was lost. */
    microbatchesRerouted: count,
    /** Dropped because their step, epoch or attempt was over. */
    microbatchesStale: count,
    /** Dropped because they were not what their sender signed. */
    messagesDamaged: count,
    /** Optimizer steps that this replica took between a microbatch's forward and its backward pass: their sum, and the most. */
    stalenessSum: count,
    stalenessMost: count,
    tokensPerSecond: z.number().nonnegative(),
    memoryBytes: count,
    /** Last stage only: over the tokens so far. */
    lossSumNats: z.number().nullable(),
  }),
  /** A source has all its microbatches back, or has given up on those that are lost. */
  z.strictObject({
    type: z.literal("source-done"),
    at: placeRefSchema,
    microbatchesDone: count,
    microbatchesLost: count,
  }),
  /** Every slice of the replica's contribution is kept by the owners that live: it counts even if the replica is lost from here on. */
  z.strictObject({
    type: z.literal("contributed"),
    at: placeRefSchema,
    manifest: blobHashSchema,
    tokens: count,
    /** Last stage only, over `tokens`. */
    lossSumNats: z.number().nullable(),
    /** That the compute worker was busy in this epoch. */
    computeMs: count,
    /** Of the stream that this replica sent on, the mean over the epoch's microbatches; null: it sent none on. */
    boundary: boundaryHealthSchema.nullable(),
  }),
  /**
   * Slices that this replica averaged. `hash` null: it has the contributions of nobody. `missing`: whose slices nobody handed out, as
   * indexes into the contributions that `reduce` listed, ascending.
   */
  z.strictObject({
    type: z.literal("reduced"),
    at: placeRefSchema,
    slices: z
      .array(
        z.strictObject({
          partition: count,
          hash: blobHashSchema.nullable(),
          missing: z.array(count).max(reducedLimits.missing).readonly(),
        }),
      )
      .max(reducedLimits.slices)
      .readonly(),
    /** Contributors whose slices were left out as outliers or not finite, in any of these. */
    outliers: z.array(minerIdSchema).max(256).readonly(),
  }),
  /** The replica applied the merged slices. */
  z.strictObject({ type: z.literal("merged"), at: placeRefSchema, weightsHash: blobHashSchema }),
  /**
   * The state that was merged at `at` lies on this miner's disk, from where others may fetch it, as `take-snapshot` asked; null: the
   * miner does not hold that state, or not any longer.
   */
  z.strictObject({
    type: z.literal("snapshot"),
    at: placeRefSchema,
    state: z
      .strictObject({
        weights: blobRefSchema,
        optimizer: blobRefSchema,
        /** The optimizer's state in few bytes, for who joins (`codec/moments.ts`); null in `sync` mode. */
        moments: blobRefSchema.nullable(),
      })
      .nullable(),
  }),
  /** A snapshot lies in the blob store, as `store-checkpoint` asked. */
  z.strictObject({ type: z.literal("stored"), at: placeRefSchema, weights: blobRefSchema, optimizer: blobRefSchema }),
  /** The replica lost its state or cannot go on with this epoch; it may be given a place again. */
  z.strictObject({ type: z.literal("failed"), at: placeRefSchema, failure: failureSchema }),
  /** Another miner has lied to this one, and signed it. */
  accusationSchema,
  /**
   * What the miner's connection carries, whatever it works on: once it is measured in a session, and again when it has clearly changed,
   * at most every ten seconds.
   */
  z.strictObject({ type: z.literal("link"), ...linkReportSchema.shape }),
  /** Where the miner wants to be paid, null: nowhere any longer. Kept for keys that have earned something: so it is said again with a session's first receipt. */
  z.strictObject({ type: z.literal("payout"), address: payoutAddressSchema.nullable() }),
  /** The Bittensor hotkey whose owner vouches for the miner, null: none any longer. Said when `payout` is, and likewise kept. */
  z.strictObject({ type: z.literal("hotkey"), proof: hotkeyProofSchema.nullable() }),
  /** Of a network's owner, answered by `owner-answer` with the same id: which one is the client's choice. */
  z.strictObject({ type: z.literal("owner-command"), id: count, command: ownerCommandSchema }),
]);
export type ClientMessage = Readonly<z.infer<typeof clientMessageSchema>>;

export const gatewayMessageSchema = z.discriminatedUnion("type", [
  /** `networkId`: the public key that the network signs with. */
  z.strictObject({ type: z.literal("challenge"), protocol: count, networkId: minerIdSchema, nonce }),
  /** This network does not take every key: what it asks of one that it does not know yet. */
  z.strictObject({ type: z.literal("admission"), need: admissionNeedSchema }),
  z.strictObject({
    type: z.literal("welcome"),
    /** Bearer for the blob store; valid while the session lives. */
    blobToken: z.string().max(128),
    /** UDP addresses of the nodes that direct connections begin with; none: all goes over the gateway. */
    bootstrap: z.array(udpAddressSchema).max(8).readonly(),
  }),
  /** What the client did was refused. The connection closes afterwards when `closing` is set. */
  z.strictObject({ type: z.literal("refused"), failure: failureSchema, closing: z.boolean() }),
  /** No place in any run at the moment. */
  z.strictObject({ type: z.literal("idle"), reason: z.string().max(200) }),
  /**
   * Take this place: load the checkpoint (or, when null, draw the initial weights) and answer `ready`. In mid-epoch too: then the
   * replica warms up — it takes part in the merge as a receiver, and trains from the next epoch on.
   */
  z.strictObject({
    type: z.literal("prepare"),
    at: placeRefSchema,
    stage: stageSpecSchema,
    model: modelConfigSchema,
    training: trainingConfigSchema,
    dataset: datasetSchema,
    /**
     * With these miners, who may be asked first, and sooner or later in the blob store. `optimizer` null: nobody can be asked for it yet,
     * which matters to nobody who holds the state already. `moments`: enough instead of it, for who joins; only these miners have it.
     */
    checkpoint: z
      .strictObject({
        weights: blobRefSchema,
        optimizer: blobRefSchema.nullable(),
        moments: blobRefSchema.nullable(),
        holders: z.array(minerIdSchema).readonly(),
        /** The last one led to these weights; each began with what the one before led to. */
        merges: z.array(pastMergeSchema).max(mostPastMerges).readonly(),
        /** Who may have what was merged, and earlier weights. */
        mergers: z.array(minerIdSchema).max(mostMergers).readonly(),
      })
      .nullable(),
    /** Of the miner's memory limit, what this place may take. */
    memoryLimitBytes: count,
  }),
  /**
   * Train. Sources send their shares (`source-shares.ts`). A replica that comes back in mid-epoch is sent it again. `boundary`: what to
   * send at stage boundaries in this epoch; receivers take any format.
   */
  z.strictObject({ type: z.literal("start"), ...signedRosterShape, boundary: boundaryFormatsSchema }),
  /** Somebody left or came back in mid-epoch. */
  z.strictObject({ type: z.literal("roster"), ...signedRosterShape }),
  /** Stop training, offer the contribution to the owners (`partitions.ts`, over these replicas), answer `contributed`. */
  z.strictObject({ type: z.literal("upload"), at: placeRefSchema, replicas: z.array(minerIdSchema).readonly() }),
  /**
   * Average the partitions listed, over these contributors in this order, answer `reduced`. First to the two owners of each partition;
   * to another replica when they disagree or one is lost. A contributor nobody can be asked for any more is left out.
   */
  z.strictObject({
    type: z.literal("reduce"),
    at: placeRefSchema,
    replicas: z.array(minerIdSchema).readonly(),
    contributions: z
      .array(z.strictObject({ minerId: minerIdSchema, manifest: blobHashSchema, tokens: count }))
      .readonly(),
    partitions: z.array(count).readonly(),
  }),
  /**
   * Fetch these slices, one per partition, apply them, answer `merged`. Null: the partition keeps its previous value. `holders`: who
   * reported that very hash.
   */
  z.strictObject({
    type: z.literal("apply"),
    at: placeRefSchema,
    replicas: z.array(minerIdSchema).readonly(),
    /** All contributors' together. */
    tokens: count,
    slices: z
      .array(z.strictObject({ hash: blobHashSchema, holders: z.array(minerIdSchema).readonly() }).nullable())
      .readonly(),
  }),
  /**
   * Copy the state that was merged at `at`, with these weights, to disk before training on it, and answer `snapshot`. Asked of one
   * replica per stage. Earlier snapshots that are not being stored may go.
   */
  z.strictObject({ type: z.literal("take-snapshot"), at: placeRefSchema, weightsHash: blobHashSchema }),
  /** Put the snapshot of that merge into the blob store, in the background, and answer `stored`. */
  z.strictObject({ type: z.literal("store-checkpoint"), at: placeRefSchema }),
  /** It need not be stored any more. */
  z.strictObject({ type: z.literal("abandon-checkpoint"), at: placeRefSchema }),
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

/** What the network signs in a roster. */
export function rosterBytes(at: PlaceRef, roster: Roster): Uint8Array {
  const { version, stages, sources } = roster;
  const listed = (replicas: Roster["sources"]) => replicas.map(({ minerId, weight }) => [minerId, weight]);
  return Buffer.from(
    JSON.stringify(["roster", at.runId, at.epoch, at.attempt, version, stages.map(listed), listed(sources)]),
  );
}

const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false });

/** First byte of a control message, apart from a frame's "T" and from a signed one's (`control-channel.ts`). */
export const controlMarker = 0x01;

export function encodeMessage(message: ClientMessage | GatewayMessage): Uint8Array {
  return Buffer.concat([Buffer.of(controlMarker), packr.pack(message)]);
}

/**
 * What every version says first, whatever else it has to say: who speaks another one must be able to tell, and to be told. So these
 * two fields of `hello` and `challenge` are read before, and apart from, all others, and never change.
 */
const greetingSchema = z.looseObject({ type: z.enum(["hello", "challenge"]), protocol: count });

/** Throws `FailureError` (malformed-message, message-too-large, unsupported-version). */
export function decodeClientMessage(bytes: Uint8Array): ClientMessage {
  return decode(bytes, clientMessageSchema, maxClientMessageBytes);
}

/** Throws `FailureError` (malformed-message, message-too-large, unsupported-version). */
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
  mustSpeakOurVersion(value);
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new FailureError("malformed-message", z.prettifyError(parsed.error).slice(0, 500));
  return parsed.data;
}

function mustSpeakOurVersion(value: unknown): void {
  const greeting = greetingSchema.safeParse(value);
  if (!greeting.success || greeting.data.protocol === protocolVersion) return;
  const { type, protocol } = greeting.data;
  const [network, miner] = type === "hello" ? [protocolVersion, protocol] : [protocol, protocolVersion];
  throw new FailureError(
    "unsupported-version",
    `The network speaks protocol ${network}, this machine's program speaks ${miner}.`,
    {
      action:
        miner < network
          ? "Update Train at Home; what this machine has earned stays with its key."
          : "Ask the network's owner to update.",
    },
  );
}

/** What the network signs in a receipt: its fields in a fixed order. */
export function receiptBytes(receipt: Receipt): Uint8Array {
  const { networkId, minerId, at, stage, tokens, checks, microCredits, atMs } = receipt;
  return Buffer.from(
    JSON.stringify([networkId, minerId, at.runId, at.epoch, at.attempt, stage, tokens, checks, microCredits, atMs]),
  );
}
