/** Where a replica stands, and what all of a miner's replicas together look like to people. */
import type { Failure } from "../../protocol/failure.ts";
import type { MinerState } from "../../protocol/machine-view.ts";
import { stageNames } from "../../protocol/stage-names.ts";
import type { Samples } from "../data/samples-from-blobs.ts";
import type { Place } from "./place.ts";
import type { Training } from "./training.ts";

export type Phase = { readonly place: Place } & (
  | /** Loads the epoch's starting weights. */
  { readonly kind: "preparing" }
  /** Holds them, and waits for the others. */
  | { readonly kind: "ready"; readonly samples: Samples }
  | { readonly kind: "training"; readonly training: Training }
  /** Takes its contribution out of the worker and offers it to those who average it. */
  | { readonly kind: "uploading" }
  /** Waits for the others' contributions. */
  | { readonly kind: "contributed" }
  | { readonly kind: "merging" }
  /** Holds the next epoch's starting weights. */
  | { readonly kind: "merged" }
  /** Something failed, and what it held is lost; it may be prepared again. */
  | { readonly kind: "failed"; readonly failure: Failure }
  /** The place is not this miner's any more. */
  | { readonly kind: "ended" }
);

/** The place of a phase in which the replica still has one. */
export function placeOf(phase: Phase): Place | null {
  return phase.kind === "ended" ? null : phase.place;
}

/** Whether the replica has something that a lost session does not take away. */
export function holdsState({ kind }: Phase): boolean {
  return kind !== "preparing" && kind !== "failed" && kind !== "ended";
}

type Working = Extract<MinerState, { readonly stages: unknown }>["kind"];

/** What people are told. Of several replicas those that come first here say what the miner does. */
const sayings: readonly { readonly phase: Phase["kind"]; readonly kind: Working; readonly doing: string }[] = [
  { phase: "merging", kind: "merging", doing: "Averaging the work on" },
  { phase: "uploading", kind: "merging", doing: "Handing in the work on" },
  { phase: "training", kind: "training", doing: "Training" },
  { phase: "contributed", kind: "merging", doing: "Waiting for the other miners' work on" },
  { phase: "merged", kind: "merging", doing: "Waiting for the next epoch of" },
  { phase: "preparing", kind: "preparing", doing: "Loading the weights of" },
  { phase: "ready", kind: "preparing", doing: "Waiting for the other miners, with the weights of" },
];

/** Null when no replica works. */
export function workingState(phases: readonly Phase[]): MinerState | null {
  for (const { phase, kind, doing } of sayings) {
    const places = phases.filter((entered) => entered.kind === phase).map(({ place }) => place);
    const [first] = places;
    if (first === undefined) continue;
    const stages = places.map(({ stage }) => stage.index).toSorted((a, b) => a - b);
    return { kind, stages, reason: `${doing} ${stageNames(stages)} of ${first.stage.count}.` };
  }
  return null;
}
