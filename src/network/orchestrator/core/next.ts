/** What a phase calls for once that for which it waited is there. */
import type { BlobHash, MinerId } from "../../../protocol/ids.ts";

export type Next =
  /** Nothing to do for now: tell the members. */
  | { readonly to: "dismiss" }
  | { readonly to: "prepare" }
  /** All that hold the state are ready: the others get a moment more. */
  | { readonly to: "linger" }
  | { readonly to: "train" }
  | { readonly to: "announce-roster" }
  | { readonly to: "upload"; readonly plannedTokens: number }
  | {
      readonly to: "merge";
      readonly plannedTokens: number;
      readonly listed: readonly (readonly MinerId[])[];
    }
  /** Some of a stage's replicas are gone: their partitions may have to be put to others. */
  | { readonly to: "review"; readonly stage: number }
  | { readonly to: "apply"; readonly stage: number }
  | { readonly to: "agree"; readonly stage: number; readonly weightsHash: BlobHash }
  /** All stages are merged. */
  | { readonly to: "conclude" }
  | { readonly to: "ask-for-snapshot"; readonly stage: number; readonly minerId: MinerId }
  | { readonly to: "release-keeper"; readonly stage: number }
  | { readonly to: "begin-upload" }
  | { readonly to: "abandon-upload"; readonly why: string }
  /** A checkpoint lies in the blob store, whole. */
  | { readonly to: "record" }
  /** The epoch's starting state is lost. */
  | { readonly to: "fall-back"; readonly why: string }
  /** The epoch failed. */
  | { readonly to: "retry"; readonly why: string }
  /** The epoch is given up because the run is to rest. */
  | { readonly to: "abandon" }
  /** The run is to rest as soon as nothing would be lost. */
  | { readonly to: "store" }
  /** Pause or finish, as is intended. */
  | { readonly to: "rest" }
  | { readonly to: "resume" };
