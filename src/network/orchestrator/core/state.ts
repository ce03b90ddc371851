/**
 * A run as the orchestrator remembers it: plain JSON data, replaced and never mutated. A snapshot is this value; the log is
 * the events since. See `apply.ts` for how it changes and `docs/protocol.md` for why.
 *
 * Whatever concerns replicas lies in one array per stage, so that an event of a large swarm touches one of them only.
 */

import type { BoundaryHealth } from "../../../protocol/client-messages.ts";
import type { BlobHash, EpochRef, MinerId, PlaceRef } from "../../../protocol/ids.ts";
import type { LinkReport } from "../../../protocol/link-report.ts";
import type { PlacementView } from "../../../protocol/placement-view.ts";
import type { Receipt } from "../../../protocol/receipt.ts";
import type { Roster } from "../../../protocol/roster.ts";
import type { Checkpoint, EpochRecord, Evaluation, RunLogEntry } from "../../../protocol/run-view.ts";
import type { StageNeed } from "../placement/placement.ts";
import { stageNeeds } from "../placement/stage-needs.ts";
import { type BoundaryWatch, watchFrom } from "./boundary-watch.ts";
import { planStages, type RunDefinition, type StagePlan } from "./definition.ts";
import { firstPlan, type RunPlan } from "./planning.ts";
import type { StageMerge } from "./stage-merge.ts";
import { type CheckpointUpload, keepingDeadlineMs, type StartingState, startFrom } from "./starting-state.ts";

export interface RunState {
  readonly definition: RunDefinition;
  readonly stages: readonly StagePlan[];
  /** What each stage asks of a miner. */
  readonly needs: readonly StageNeed[];
  /** What the run's owner wants; `finish` also once the target is reached. The phase follows at the next chance. */
  readonly intent: "run" | "pause" | "finish";
  readonly epoch: number;
  readonly attempt: number;
  readonly phase: PhaseState;
  readonly phaseSinceMs: number;
  /** Start of the epoch's current attempt. */
  readonly epochSinceMs: number;
  /** By stage, everyone who has had a place in this attempt, in order of arrival; none between epochs. */
  readonly replicas: readonly (readonly Replica[])[];
  readonly roster: RosterState;
  /** Everyone who asked for work, in order of arrival. */
  readonly members: readonly Member[];
  /** Members whose session is gone, and until when their places are kept. */
  readonly away: readonly { readonly minerId: MinerId; readonly untilMs: number }[];
  /** The last members that went, latest last: who is lost from this epoch, and which stages they may come back to. */
  readonly departed: readonly Departed[];
  /** Why the members hold what they hold; null before anybody was placed. */
  readonly placement: PlacementView | null;
  /** Trained and merged since the run began, as far as the run has not fallen back. */
  readonly tokens: number;
  readonly microbatchesLost: number;
  /** Of merged epochs: those that kept their previous value because nobody could average them. */
  readonly partitionsLost: number;
  readonly boundaryWatch: BoundaryWatch;
  readonly plan: RunPlan;
  /** Micro-credits by miner. */
  readonly credits: Readonly<Record<MinerId, number>>;
  /** What the merged epochs earn that no checkpoint has yet: credited once one has. */
  readonly uncredited: readonly Uncredited[];
  /** What the current epoch starts from; null: the initial weights. */
  readonly start: StartingState | null;
  readonly upload: CheckpointUpload | null;
  /** The last start that lies in the blob store, whole: what the run goes back to when miners lose a later one. */
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

export type Uncredited = Omit<Receipt, "networkId" | "atMs">;

export interface Member {
  readonly minerId: MinerId;
  readonly name: string;
  readonly memoryLimitBytes: number;
  readonly maximumStages: number;
  /** Tokens per second through one block, forward and backward, as its device's probe said; null: not known. */
  readonly probedRate: number | null;
  /** Likewise, as its epochs showed. */
  readonly measuredRate: number | null;
  /** How fast it is taken to be in comparison with a typical member when work is shared out, and when it is placed (`speed.ts`). */
  readonly speed: number;
  readonly placedSpeed: number;
  /** What its connection carries, as it said last; null: it has not. */
  readonly link: LinkReport | null;
  /** In the direction that carries less, as it is taken to be when it is placed; null: not known. */
  readonly placedLinkBytesPerSecond: number | null;
  /** Ascending; none: it fits nowhere, or is not placed yet. */
  readonly stages: readonly number[];
  /** It failed, or was late, the last time it was counted on: no stage depends on it alone if that can be helped. */
  readonly unreliable: boolean;
  /** Merges that left its contribution out because two replicas found it too far from the others'. */
  readonly outliers: number;
  /** Epochs that it was taken out of because it had signed two things of which one is a lie. */
  readonly convictions: number;
  /** Contributions that were refused because it claimed more tokens than it can have trained. */
  readonly refusedClaims: number;
}

export interface Departed extends Pick<Member, "minerId" | "name" | "stages"> {
  readonly epoch: number;
}

/** A miner's part in a stage during one attempt at an epoch, and what it has said so far. */
export interface Replica {
  readonly minerId: MinerId;
  /**
   * `live`: it trains and merges, and phases wait for it. `warming`: it loads the epoch's starting state, is given what is merged,
   * and is waited for by nobody. `out`: lost, failed or late; what it contributed before counts.
   */
  readonly part: "live" | "warming" | "out";
  /** It has lied to its peers, and signed it: it is out, and the epoch earns it nothing. */
  readonly convicted: boolean;
  /** Its session is gone, and the grace is not over. */
  readonly away: boolean;
  /** Share of the stage's work, relative to the other replicas'. */
  readonly weight: number;
  readonly memoryLimitBytes: number;
  /** Hash of the weights that it loaded. */
  readonly ready: BlobHash | null;
  /** Of the first stage: it has all its microbatches back, or has given up on them. */
  readonly sourceDone: boolean;
  readonly contribution: Contribution | null;
  /** Hash of the merged weights. */
  readonly merged: BlobHash | null;
}

/** One replica's share of the merge. */
export interface Contribution {
  readonly manifest: BlobHash;
  readonly tokens: number;
  readonly lossSumNats: number | null;
  readonly computeMs: number;
  readonly boundary: BoundaryHealth | null;
}

/** What the miners were told last, and whether that still holds. */
export interface RosterState {
  /** Live replicas whose session is open. Empty stages between epochs and while preparing. */
  readonly announced: Roster;
  /** When to tell of those who left or came back since; null: nobody did. */
  readonly dueMs: number | null;
  readonly notBeforeMs: number;
}

/** Each phase knows when it ends without what it waits for. */
export type PhaseState =
  | {
      readonly name: "waiting";
      readonly deadlineMs: number | null;
      /** Failed attempts are not repeated at once. */
      readonly notBeforeMs: number;
      /** Until then it waits for `minimumReplicas`; null while a stage has no miner at all. */
      readonly gatherUntilMs: number | null;
      /** When to place the members again; null: nobody came, went or changed since. */
      readonly placeDueMs: number | null;
      readonly placeNotBeforeMs: number;
      /** Members have been told to stand by. */
      readonly announced: boolean;
    }
  | {
      readonly name: "preparing";
      readonly deadlineMs: number;
      /** Until then those are waited for who are not in step; null while others are not ready either. */
      readonly lingerUntilMs: number | null;
    }
  /** `plannedTokens`: that the epoch's sources send in all. */
  | {
      readonly name: "training";
      readonly deadlineMs: number;
      readonly plannedTokens: number;
      readonly timeIsUp: boolean;
    }
  | {
      readonly name: "uploading";
      readonly deadlineMs: number;
      readonly plannedTokens: number;
      /** By stage, the replicas that `upload` listed. */
      readonly listed: readonly (readonly MinerId[])[];
    }
  | { readonly name: "merging"; readonly deadlineMs: number; readonly stages: readonly StageMerge[] }
  /** The run is to rest once what it merged last lies in the blob store; nobody has a place meanwhile, and nobody is sent away. */
  | { readonly name: "storing"; readonly deadlineMs: null }
  | { readonly name: "paused"; readonly deadlineMs: null }
  | { readonly name: "finished"; readonly deadlineMs: null };

export type PhaseName = PhaseState["name"];
export type PhaseOf<N extends PhaseName> = Extract<PhaseState, { name: N }>;

/** Throws `RangeError` when the model cannot be cut into as many stages. */
export function createRun(definition: RunDefinition, atMs: number): RunState {
  return {
    definition,
    stages: planStages(definition),
    needs: stageNeeds(definition),
    intent: "run",
    epoch: 0,
    attempt: 0,
    phase: {
      name: "waiting",
      deadlineMs: null,
      notBeforeMs: atMs,
      gatherUntilMs: null,
      placeDueMs: null,
      placeNotBeforeMs: atMs,
      announced: true,
    },
    phaseSinceMs: atMs,
    epochSinceMs: atMs,
    replicas: perStage(definition),
    roster: { announced: { version: 0, stages: perStage(definition), sources: [] }, dueMs: null, notBeforeMs: atMs },
    members: [],
    away: [],
    departed: [],
    placement: null,
    tokens: 0,
    microbatchesLost: 0,
    partitionsLost: 0,
    boundaryWatch: watchFrom(definition),
    plan: firstPlan(definition),
    credits: {},
    uncredited: [],
    start: startFrom(definition.firstCheckpoint ?? null, 0),
    upload: null,
    checkpoint: definition.firstCheckpoint ?? null,
    previousCheckpoint: null,
    epochs: [],
    evaluations: [],
    log: [],
    nextLogSequence: 0,
  };
}

/** Nobody, for each stage. */
export function perStage(definition: RunDefinition): readonly (readonly never[])[] {
  return Array.from({ length: definition.stages }, () => []);
}

export function currentEpoch(state: RunState): EpochRef {
  return { runId: state.definition.runId, epoch: state.epoch, attempt: state.attempt };
}

export function placeRef(state: RunState, stage: number): PlaceRef {
  return { ...currentEpoch(state), stage };
}

export function memberOf(state: RunState, minerId: MinerId): Member | undefined {
  return state.members.find((member) => member.minerId === minerId);
}

export function isAway(state: RunState, minerId: MinerId): boolean {
  return state.away.some((one) => one.minerId === minerId);
}

/** "Stage 2 of 3", as people count. */
export function stageName(state: RunState, stage: number): string {
  return `Stage ${stage + 1} of ${state.stages.length}`;
}

export function targetReached({ definition, tokens }: RunState): boolean {
  return definition.targetTokens !== null && tokens >= definition.targetTokens;
}

const betweenEpochs: readonly PhaseName[] = ["waiting", "storing", "paused", "finished"];

/** Whether an attempt at an epoch is under way. */
export function epochRuns({ phase }: RunState): boolean {
  return !betweenEpochs.includes(phase.name);
}

/** When something happens by itself; null: never. */
export function nextDeadlineMs(state: RunState): number | null {
  const { phase, roster, away } = state;
  const linger = phase.name === "preparing" ? phase.lingerUntilMs : null;
  const graceMs = away.reduce<number | null>((least, { untilMs }) => earlier(least, untilMs), null);
  return [linger, graceMs, roster.dueMs, keepingDeadlineMs(state)].reduce(earlier, phase.deadlineMs);
}

function earlier(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
