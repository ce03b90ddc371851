/**
 * What a miner signs of the numbers that it sends to another one: activations, gradients, and what a step moved. A record commits to
 * the numbers and to the record that came with what they were computed from, its *origin*; that one commits to its own origin, and so
 * on back to the source. Whoever receives numbers checks the record and its origin before anything is computed from them
 * (`src/miner/flow/transfers.ts`). `docs/adr/0015-what-peers-send-is-signed-and-chained.md` says why it is made like this.
 */
import { hash } from "node:crypto";
import { z } from "zod";
import { verifySignature } from "./identity.ts";
import { minerIdSchema, type PlaceRef } from "./ids.ts";

export const transferKinds = ["forward", "backward", "moved"] as const;
export type TransferKind = (typeof transferKinds)[number];

/** What a record is about: for each of these an honest miner signs one content, to whomever it sends it. */
export interface Transfer {
  readonly networkId: string;
  /** The sender's. */
  readonly at: PlaceRef;
  readonly kind: TransferKind;
  readonly step: number;
  /** Of the microbatch within the epoch; of a `moved`: of the part. */
  readonly index: number;
}

export const digestSchema = z.string().regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in hex");
const signatureSchema = z.string().regex(/^[0-9a-f]{128}$/, "must be 64 bytes in hex");

export const transferRecordSchema = z.strictObject({
  sender: minerIdSchema,
  /** `contentOf` what was sent. */
  content: digestSchema,
  /** The sender's, over `recordBytes`. */
  signature: signatureSchema,
});
export type TransferRecord = Readonly<z.infer<typeof transferRecordSchema>>;

/** Of the numbers as they are sent; hex. */
export function payloadDigest(payload: Uint8Array): string {
  return hash("sha256", payload, "hex");
}

/** Of a `moved`, whose weight in the average is signed too. */
export function movedDigest({ tokens, parts, payload }: MovedNumbers): string {
  return hash("sha256", JSON.stringify([tokens, parts, payloadDigest(payload)]), "hex");
}

interface MovedNumbers {
  readonly tokens: number;
  readonly parts: number;
  readonly payload: Uint8Array;
}

/** What a record stands for: the numbers, by their digest, and what they were computed from; null: nothing that another miner sent. */
export function contentOf(digest: string, origin: TransferRecord | null): string {
  const from = origin && [origin.sender, origin.content, origin.signature];
  return hash("sha256", JSON.stringify([digest, from]), "hex");
}

/** What is signed. It names network and run, so that it is worth nothing in another one. */
export function recordBytes({ networkId, at, kind, step, index }: Transfer, content: string): Uint8Array {
  const { runId, epoch, attempt, stage } = at;
  return Buffer.from(
    JSON.stringify(["train-at-home transfer 1", networkId, runId, epoch, attempt, stage, kind, step, index, content]),
  );
}

/** Never throws: whatever is wrong with it, it is not signed. */
export function isSigned(transfer: Transfer, { sender, content, signature }: TransferRecord): boolean {
  return verifySignature(sender, recordBytes(transfer, content), Buffer.from(signature, "hex"));
}

/** What the numbers of a transfer are computed from; null: the sender begins with them. `stages`: in the run. */
export function originOf(transfer: Transfer, stages: number): Transfer | null {
  const { at, kind } = transfer;
  const from = (kind: TransferKind, stage: number): Transfer => ({ ...transfer, kind, at: { ...at, stage } });
  switch (kind) {
    case "forward":
      return at.stage === 0 ? null : from("forward", at.stage - 1);
    case "backward":
      // The last stage turns activations into their gradient.
      return at.stage === stages - 1 ? from("forward", at.stage - 1) : from("backward", at.stage + 1);
    case "moved":
      return null;
  }
}
