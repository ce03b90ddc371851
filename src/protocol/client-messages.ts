/** What a miner, an observer or a network's owner says to the gateway. */
import { z } from "zod";
import { accusationSchema } from "./accusation.ts";
import { admissionProofSchema } from "./admission.ts";
import { deviceReportSchema } from "./device-report.ts";
import { failureSchema } from "./failure.ts";
import { hotkeyProofSchema } from "./hotkey-proof.ts";
import { blobHashSchema, blobRefSchema, minerIdSchema, placeRefSchema } from "./ids.ts";
import { linkReportSchema } from "./link-report.ts";
import { ownerCommandSchema } from "./owner-commands.ts";
import { payoutAddressSchema } from "./payout-address.ts";

const count = z.int().nonnegative();
const name = z.string().min(1).max(64);

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
