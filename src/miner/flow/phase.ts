/** Where a replica stands, and what that looks like to people. */

import { assertNever } from "../../protocol/assert-never.ts";
import type { Failure } from "../../protocol/failure.ts";
import type { MinerState } from "../../protocol/local-api.ts";
import type { Samples } from "../data/samples-from-blobs.ts";
import type { EarlyMessages } from "./early-messages.ts";
import type { Place } from "./place.ts";
import type { Training } from "./training.ts";

export type Phase =
  /** Shall not work, and `reason` says why. */
  | { readonly kind: "paused"; readonly reason: string }
  /** Without a session. */
  | { readonly kind: "connecting"; readonly reason: string }
  /** Asked for a place. */
  | { readonly kind: "waiting"; readonly reason: string }
  /** Loads the epoch's starting weights. */
  | { readonly kind: "preparing"; readonly place: Place }
  /** Holds them, and waits for the others. */
  | { readonly kind: "ready"; readonly place: Place; readonly samples: Samples; readonly early: EarlyMessages }
  | { readonly kind: "training"; readonly place: Place; readonly training: Training }
  /** Takes its contribution out of the worker and offers it to those who average it. */
  | { readonly kind: "uploading"; readonly place: Place }
  /** Waits for the others' contributions. */
  | { readonly kind: "contributed"; readonly place: Place }
  | { readonly kind: "merging"; readonly place: Place }
  /** Holds the next epoch's starting weights. */
  | { readonly kind: "merged"; readonly place: Place }
  /** Puts them into the blob store for everybody. */
  | { readonly kind: "storing"; readonly place: Place }
  /** Something failed; it asks for a place again after a pause. */
  | { readonly kind: "recovering"; readonly failure: Failure }
  /** It failed too often, and needs a person. */
  | { readonly kind: "stopped"; readonly reason: string };

/** The place of a phase that has one. */
export function placeOf(phase: Phase): Place | null {
  return "place" in phase ? phase.place : null;
}

export function minerState(phase: Phase): MinerState {
  switch (phase.kind) {
    case "paused":
    case "connecting":
    case "waiting":
    case "stopped":
      return { kind: phase.kind, reason: phase.reason };
    case "recovering":
      return { kind: "waiting", reason: `${phase.failure.message} Trying again soon.` };
    case "preparing":
      return working("preparing", phase.place, "Loading the weights of");
    case "ready":
      return working("preparing", phase.place, "Waiting for the other miners, with the weights of");
    case "training":
      return working("training", phase.place, "Training");
    case "uploading":
      return working("merging", phase.place, "Handing in the work on");
    case "contributed":
      return working("merging", phase.place, "Waiting for the other miners' work on");
    case "merging":
      return working("merging", phase.place, "Averaging the work on");
    case "merged":
      return working("merging", phase.place, "Waiting for the next epoch of");
    case "storing":
      return working("merging", phase.place, "Storing the checkpoint of");
    default:
      return assertNever(phase);
  }
}

function working(kind: "preparing" | "training" | "merging", { stage }: Place, doing: string): MinerState {
  return { kind, stage: stage.index, reason: `${doing} stage ${stage.index + 1} of ${stage.count}.` };
}
