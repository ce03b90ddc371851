/** A blob that somebody fetches by its hash, and what is known of its length beforehand. */
import type { BlobHash } from "../protocol/ids.ts";

export interface WantedBlob {
  readonly hash: BlobHash;
  /** How long it is, or what it can be: whoever says that it is anything else is not believed. */
  readonly bytes: number | ByteLimits;
}

export interface ByteLimits {
  readonly least: number;
  readonly most: number;
}

export function limitsOf(bytes: WantedBlob["bytes"]): ByteLimits {
  return typeof bytes === "number" ? { least: bytes, most: bytes } : bytes;
}
