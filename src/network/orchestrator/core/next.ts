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
  | { readonly to: "merge"; readonly listed: readonly (readonly MinerId[])[] }
  /** Some of a stage's replicas are gone: their partitions may have to be put to others. */
  | { readonly to: "review"; readonly stage: number }
  | { readonly to: "apply"; readonly stage: number }
  | { readonly to: "agree"; readonly stage: number; readonly weightsHash: BlobHash }
  | { readonly to: "ask"; readonly stage: number; readonly minerId: MinerId }
  | { readonly to: "record" }
  /** The epoch failed. */
  | { readonly to: "retry"; readonly why: string }
  /** The epoch is given up because the run is to rest. */
  | { readonly to: "abandon" }
  /** Pause or finish, as is intended. */
  | { readonly to: "rest" }
  | { readonly to: "resume" };
