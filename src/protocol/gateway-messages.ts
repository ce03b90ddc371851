/** What the gateway says to a miner, an observer or a network's owner. */
import { z } from "zod";
import { admissionNeedSchema } from "./admission.ts";
import { failureSchema } from "./failure.ts";
import { blobHashSchema, blobRefSchema, minerIdSchema, placeRefSchema, runIdSchema } from "./ids.ts";
import { ownerAnswerSchema } from "./owner-commands.ts";
import { receiptSchema } from "./receipt.ts";
import { signedRosterShape } from "./roster.ts";
import { boundaryFormatsSchema, modelConfigSchema, stageSpecSchema, trainingConfigSchema } from "./run-config.ts";
import { runSummarySchema, runUpdateSchema } from "./run-view.ts";

const count = z.int().nonnegative();
const nonce = z.instanceof(Uint8Array).refine((bytes) => bytes.length === 32, { error: "a nonce has 32 bytes" });

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

export const gatewayMessageSchema = z.discriminatedUnion("type", [
  /** `networkId`: the public key that the network signs with. */
  z.strictObject({ type: z.literal("challenge"), protocol: count, networkId: minerIdSchema, nonce }),
  /** This network does not take every key: what it asks of one that it does not know yet. */
  z.strictObject({ type: z.literal("admission"), need: admissionNeedSchema }),
  z.strictObject({
    type: z.literal("welcome"),
    /** Bearer for the blob store; valid while the session lives. */
    blobToken: z.string().regex(/^[\w-]{0,128}$/),
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
    receipt: receiptSchema,
    signature: z.instanceof(Uint8Array),
  }),
  /** All runs of the network: first after `welcome`, and whenever one of them has changed. */
  z.strictObject({ type: z.literal("runs"), runs: z.array(runSummarySchema).readonly() }),
  /** The run that this miner works for from now on; null: none. What it does for another one ends. */
  z.strictObject({ type: z.literal("assigned"), runId: runIdSchema.nullable() }),
  z.strictObject({ type: z.literal("owner-answer"), id: count, answer: ownerAnswerSchema }),
]);
export type GatewayMessage = Readonly<z.infer<typeof gatewayMessageSchema>>;
