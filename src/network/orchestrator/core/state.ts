/**
 * A run as the orchestrator remembers it: plain JSON data, replaced and never mutated. A snapshot is this value; the log is
 * the events since. See `apply.ts` for how it changes and `docs/protocol.md` for why.
 */
import type { BlobHash, BlobRef, EpochRef, MinerId } from "../../../protocol/ids.ts";
import type { Roster } from "../../../protocol/messages.ts";
import type { Checkpoint, EpochRecord, Evaluation, RunLogEntry } from "../../../protocol/run-view.ts";
import { planStages, type RunDefinition, type StagePlan } from "./definition.ts";

export interface RunState {
  readonly definition: RunDefinition;
  readonly stages: readonly StagePlan[];
  /** What the run's owner wants; `finish` also once the target is reached. The phase follows at the next chance. */
  readonly intent: "run" | "pause" | "finish";
  readonly epoch: number;
  readonly attempt: number;
  readonly phase: PhaseState;
  readonly phaseSinceMs: number;
  /** Start of the epoch's current attempt. */
  readonly epochSinceMs: number;
  /** Who takes part in the epoch; grows while preparing, shrinks afterwards. Empty stages between epochs. */
  readonly roster: Roster;
  /** Everyone who asked for work, in order of arrival; each has a stage. */
  readonly members: readonly Member[];
  /** The last members that went, latest last: who is lost from this epoch, and which stage they may come back to. */
  readonly departed: readonly Departed[];
  /** Trained and merged since the run began. */
  readonly tokens: number;
  readonly microbatchesLost: number;
  /** Micro-credits by miner. */
  readonly credits: Readonly<Record<MinerId, number>>;
  /** What the current epoch starts from; null: the initial weights. */
  readonly checkpoint: Checkpoint | null;
  readonly previousCheckpoint: Checkpoint | null;
  /** In order; thinned out as `history.ts` says. */
  readonly epochs: readonly EpochRecord[];
  /** Likewise. */
  readonly evaluations: readonly Evaluation[];
  /** The last entries. */
  readonly log: readonly RunLogEntry[];
  readonly nextLogSequence: number;
}

export interface Member {
  readonly minerId: MinerId;
  readonly name: string;
  readonly stage: number;
  /** It failed, or was late, the last time it was counted on: no stage depends on it alone if that can be helped. */
  readonly unreliable: boolean;
}

export interface Departed {
  readonly minerId: MinerId;
  readonly name: string;
  readonly stage: number;
  readonly epoch: number;
}

/** Each phase carries the answers it has so far, and when it ends without the rest. */
export type PhaseState =
  | {
      readonly name: "waiting";
      readonly deadlineMs: number | null;
      /** Failed attempts are not repeated at once. */
      readonly notBeforeMs: number;
      /** Until then it waits for `minimumReplicas`; null while a stage has no miner at all. */
      readonly gatherUntilMs: number | null;
      /** Members have been told to stand by. */
      readonly announced: boolean;
    }
  | { readonly name: "preparing"; readonly deadlineMs: number; readonly ready: Readonly<Record<MinerId, BlobHash>> }
  | {
      readonly name: "training";
      readonly deadlineMs: number;
      /** Tokens that the epoch's sources send in all. */
      readonly plannedTokens: number;
      /** Sources that have all their microbatches back. */
      readonly done: readonly MinerId[];
      readonly announcedRosterVersion: number;
    }
  | {
      readonly name: "uploading";
      readonly deadlineMs: number;
      readonly plannedTokens: number;
      readonly contributions: readonly Contribution[];
    }
  | {
      readonly name: "merging";
      readonly deadlineMs: number;
      readonly contributions: readonly Contribution[];
      /** Hash of the merged weights by replica. */
      readonly merged: Readonly<Record<MinerId, BlobHash>>;
      /** One per stage. */
      readonly stages: readonly StageMerge[];
    }
  | { readonly name: "paused"; readonly deadlineMs: null }
  | { readonly name: "finished"; readonly deadlineMs: null };

export type PhaseName = PhaseState["name"];
export type PhaseOf<N extends PhaseName> = Extract<PhaseState, { name: N }>;

/** One replica's share of the merge. It counts even if the replica is lost afterwards. */
export interface Contribution {
  readonly minerId: MinerId;
  readonly stage: number;
  readonly blob: BlobRef;
  readonly tokens: number;
  readonly lossSumNats: number | null;
}

/** A stage on its way to the next checkpoint: replicas answer → they agree → one is asked → it has stored. */
export type StageMerge =
  | { readonly step: "answering" }
  | { readonly step: "agreed"; readonly weightsHash: BlobHash; readonly asked: MinerId | null }
  | {
      readonly step: "stored";
      readonly weightsHash: BlobHash;
      readonly weights: BlobRef;
      readonly optimizer: BlobRef;
    };

/** Throws `RangeError` when the model cannot be cut into as many stages. */
export function createRun(definition: RunDefinition, atMs: number): RunState {
  return {
    definition,
    stages: planStages(definition),
    intent: "run",
    epoch: 0,
    attempt: 0,
    phase: { name: "waiting", deadlineMs: null, notBeforeMs: atMs, gatherUntilMs: null, announced: true },
    phaseSinceMs: atMs,
    epochSinceMs: atMs,
    roster: emptyRoster(definition.stages, 0),
    members: [],
    departed: [],
    tokens: 0,
    microbatchesLost: 0,
    credits: {},
    checkpoint: definition.firstCheckpoint ?? null,
    previousCheckpoint: null,
    epochs: [],
    evaluations: [],
    log: [],
    nextLogSequence: 0,
  };
}

export function emptyRoster(stages: number, version: number): Roster {
  return { version, stages: Array.from({ length: stages }, () => []) };
}

export function currentEpoch(state: RunState): EpochRef {
  return { runId: state.definition.runId, epoch: state.epoch, attempt: state.attempt };
}

export function rosterMembers(state: RunState): readonly MinerId[] {
  return state.roster.stages.flat();
}

export function memberOf(state: RunState, minerId: MinerId): Member | undefined {
  return state.members.find((member) => member.minerId === minerId);
}

/** The first stage without a replica in the roster; undefined when all have one. */
export function uncoveredStage(state: RunState): number | undefined {
  const stage = state.roster.stages.findIndex((replicas) => replicas.length === 0);
  return stage === -1 ? undefined : stage;
}

/** "Stage 2 of 3", as people count. */
export function stageName(state: RunState, stage: number): string {
  return `Stage ${stage + 1} of ${state.stages.length}`;
}

export function targetReached({ definition, tokens }: RunState): boolean {
  return definition.targetTokens !== null && tokens >= definition.targetTokens;
}

/** When the phase ends by itself; null: never. */
export function nextDeadlineMs(state: RunState): number | null {
  return state.phase.deadlineMs;
}
