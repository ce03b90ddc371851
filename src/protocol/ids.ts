/**
 * Names of things, as they appear in messages, logs and file names. Branded, so that one cannot be passed for another.
 * `src/protocol` holds what all processes share; it imports nothing from the other folders.
 */
import { z } from "zod";

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`), `must be ${bytes} bytes in hex`);

/** A miner's ed25519 public key, 32 bytes in lower-case hex. */
export const minerIdSchema = hex(32).brand("MinerId");
export type MinerId = z.infer<typeof minerIdSchema>;

/** SHA-256 of a blob's bytes, in lower-case hex. */
export const blobHashSchema = hex(32).brand("BlobHash");
export type BlobHash = z.infer<typeof blobHashSchema>;

export const runIdSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be lower-case letters, digits and dashes")
  .brand("RunId");
export type RunId = z.infer<typeof runIdSchema>;

/** A content-addressed piece of bulk data. */
export const blobRefSchema = z.strictObject({ hash: blobHashSchema, bytes: z.int().nonnegative() });
export type BlobRef = Readonly<z.infer<typeof blobRefSchema>>;

/** A checkpoint as people name it: by its manifest's hash, or the first digits of it. */
export const checkpointNameSchema = z
  .string()
  .regex(/^[0-9a-f]{8,64}$/, "expected a checkpoint's name, or at least its first eight digits");

export function isCheckpointName(text: string): boolean {
  return checkpointNameSchema.safeParse(text).success;
}

/** Names one attempt at one epoch. A failed epoch is tried again from the last checkpoint with the next attempt number. */
export const epochRefSchema = z.strictObject({
  runId: runIdSchema,
  epoch: z.int().nonnegative(),
  attempt: z.int().nonnegative(),
});
export type EpochRef = Readonly<z.infer<typeof epochRefSchema>>;

/** Names one replica's part in an attempt at an epoch: a miner may hold several stages. */
export const placeRefSchema = epochRefSchema.extend({ stage: z.int().nonnegative() });
export type PlaceRef = Readonly<z.infer<typeof placeRefSchema>>;

export function samePlace(a: PlaceRef, b: PlaceRef): boolean {
  return sameEpoch(a, b) && a.stage === b.stage;
}

export function sameEpoch(a: EpochRef, b: EpochRef): boolean {
  return a.runId === b.runId && a.epoch === b.epoch && a.attempt === b.attempt;
}

/** The first eight digits of a key or hash: enough for people, never for machines. */
export function shortId(id: MinerId | BlobHash): string {
  return id.slice(0, 8);
}
