/**
 * Which miner holds which stages: bin packing as pure functions, without clock or chance; the order of the miners does not matter.
 *
 * What counts, in this order: every stage has a replica; a reliable one; two reliable ones on different miners; the slowest stage is as fast as can be;
 * few stages move. A placement that covers as much is kept unless another one is faster by a tenth, for each move is a download.
 *
 * The caller passes in
 * - `stages`: `stageNeeds(definition)`, once per run;
 * - `miners`: everyone who may work, with what was measured. Where a rate is not known yet, that of a typical miner;
 *   `reliable` is false for one that failed, or was late, the last time it was counted on, and for one that is about to leave;
 * - `current`: the stages whose weights each miner holds or is loading, and only those: before a run's first epoch nobody holds
 *   anything. Miners that are gone and stages that do not exist are passed over.
 */
import type { MinerId } from "../../../protocol/ids.ts";
import type { PlacementExplanation } from "../../../protocol/placement-view.ts";
import { Draft, isBetter, roundingShare, type Score } from "./draft.ts";
import { explain } from "./explain.ts";
import { dealOut, fullStarts, improve, trim } from "./search.ts";
import { hasStage, type StageSet, stageSet, stagesOf } from "./stage-set.ts";
import { throughputOf } from "./throughput.ts";

/** What a stage asks of a miner. */
export interface StageNeed {
  /** To hold one replica at all. */
  readonly memoryBytes: number;
  /** Cost of a token, forward and backward, relative to one block. */
  readonly work: number;
  /** That cross the miner's link per token: activations and their gradients, in and out. */
  readonly bytesPerToken: number;
}

export interface MinerResources {
  readonly minerId: MinerId;
  readonly memoryBytes: number;
  /** Stages that its owner allows it at once. */
  readonly maximumStages: number;
  /** Through one block, forward and backward, as measured. */
  readonly blockTokensPerSecond: number;
  /** As measured; null: not known, taken as no limit. */
  readonly linkBytesPerSecond: number | null;
  readonly reliable: boolean;
}

export interface Assignment {
  readonly minerId: MinerId;
  /** Ascending. None: no stage fits. */
  readonly stages: readonly number[];
}

export interface PlacementRequest {
  readonly stages: readonly StageNeed[];
  readonly miners: readonly MinerResources[];
  readonly current: readonly Assignment[];
}

export interface Placement {
  /** Every miner, in the order given. */
  readonly assignments: readonly Assignment[];
  /** Of the slowest stage; 0 while a stage has no replica. */
  readonly tokensPerSecond: number;
  /** Stages that a miner gets and did not hold. */
  readonly moves: number;
  /** By miner, in the order given, and stage. */
  readonly explanations: readonly PlacementExplanation[];
}

/** Miners stay where they are for a gain of less than this. */
const worthMoving = 1.1;
/** A placement this close to the best one is as good, and simpler. */
const asGood = 0.97;
const mostRounds = 4;
/** So close to a bound that no placement exceeds, the search ends. */
const closeToBound = 0.99;

export function place(request: PlacementRequest): Placement {
  const draft = draftOf(
    request.stages,
    request.miners.toSorted((a, b) => (a.minerId < b.minerId ? -1 : 1)),
    request.current,
  );
  const kept = [...draft.held];
  const bound = upperBound(draft);
  // What was found is looked at once more as something that is there already, so that asking again changes nothing.
  for (let round = 0; round < mostRounds; round++) {
    const before = [...draft.held];
    rearrange(draft, bound);
    if (draft.held.every((stages, miner) => stages === before[miner])) break;
  }
  return resultOf(request, draft, kept);
}

function rearrange(draft: Draft, bound: number): void {
  const everyone = [...draft.miners.keys()];
  const newcomers = everyone.filter((miner) => draft.heldBy(miner) === 0);
  const kept = [...draft.held];
  const isKept = (miner: number, stage: number) => hasStage(kept[miner] ?? 0, stage);
  let score = settle(draft, newcomers, bound);
  if (newcomers.length < everyone.length) score = moveWhereItPays(draft, score, bound);
  trim(draft, everyone, asGood * score.tokensPerSecond, (miner, stage) => !isKept(miner, stage));
  // What is held already is given up only where that costs nothing: else a little would be lost each time.
  trim(draft, everyone, draft.score().tokensPerSecond * (1 - roundingShare), isKept);
}

/** The cheapest good place for one newcomer while nobody else moves: the former one, unless another is clearly better. */
export function placeNewcomer(
  { stages, miners, current }: PlacementRequest,
  newcomer: MinerResources,
  formerStages: readonly number[],
): readonly number[] {
  const draft = new Draft(stages, [newcomer]);
  const all = 2 ** stages.length - 1;
  const held = new Map(current.map((one) => [one.minerId, stageSet(one.stages) & all]));
  for (const other of miners)
    if (other.minerId !== newcomer.minerId) draft.countSettled(other, held.get(other.minerId) ?? 0);
  dealOut(draft, [0]);
  let score = draft.score();
  // In a large swarm one miner makes little difference: it is enough that it is where it is needed most.
  const gain = newcomer.blockTokensPerSecond / Math.min(...stages.map(({ work }) => work));
  if (draft.uncovered() !== 0 || gain > (1 - asGood) * score.tokensPerSecond)
    score = improve(draft, [0], Number.POSITIVE_INFINITY);
  const chosen = draft.heldBy(0);
  const former = stageSet(formerStages) & all;
  if (former !== 0 && draft.fits(0, former)) {
    draft.hold(0, former);
    const asBefore = draft.score();
    if (asBefore.coverage === score.coverage && asBefore.tokensPerSecond * worthMoving >= score.tokensPerSecond)
      return stagesOf(former);
    draft.hold(0, chosen);
  }
  trim(draft, [0], asGood * score.tokensPerSecond, () => true);
  return stagesOf(draft.heldBy(0));
}

/** What there is. Who has less memory than before gives up what others hold most. */
function draftOf(
  stages: readonly StageNeed[],
  miners: readonly MinerResources[],
  current: readonly Assignment[],
): Draft {
  const draft = new Draft(stages, miners);
  const held = new Map(current.map((one) => [one.minerId, one.stages.filter((stage) => stage < stages.length)]));
  for (const [miner, { minerId }] of draft.miners.entries()) draft.hold(miner, stageSet(held.get(minerId) ?? []));
  for (const miner of draft.miners.keys())
    while (!draft.fits(miner, draft.heldBy(miner))) {
      const byReplicas = stagesOf(draft.heldBy(miner)).sort(
        (a, b) => draft.replicasOf(b).all - draft.replicasOf(a).all,
      );
      draft.hold(miner, draft.heldBy(miner) & ~stageSet(byReplicas.slice(0, 1)));
    }
  return draft;
}

/** Tokens per second that no placement of these miners exceeds: as if each held all stages that fit it one by one. */
function upperBound(draft: Draft): number {
  const rates = new Map<StageSet, number>();
  for (const miner of draft.miners.keys()) {
    const fitting = draft.roomBeside(miner, 0);
    const rate = Math.max(0, ...stagesOf(fitting).map((stage) => draft.rateOf(miner, 1 << stage)));
    rates.set(fitting, (rates.get(fitting) ?? 0) + rate);
  }
  return throughputOf(
    draft.stages.map(({ work }) => work),
    { single: [], several: Array.from(rates, ([stages, rate]) => ({ stages, rate })) },
  ).tokensPerSecond;
}

/** Gives places to those who have none. */
function settle(draft: Draft, newcomers: readonly number[], bound: number): Score {
  const enough = closeToBound * bound;
  dealOut(draft, newcomers);
  let best = { score: improve(draft, newcomers, enough), held: [...draft.held] };
  if (best.score.tokensPerSecond >= enough && draft.uncovered() === 0) return best.score;
  for (const _ of fullStarts(draft, newcomers)) {
    const score = improve(draft, newcomers, enough);
    if (isBetter(score, best.score)) best = { score, held: [...draft.held] };
  }
  restore(draft, best.held);
  return best.score;
}

/** Lets everyone move, and keeps of that what covers more, or what is faster by enough: as few steps as come close to the best. */
function moveWhereItPays(draft: Draft, settled: Score, bound: number): Score {
  if (draft.uncovered() === 0 && settled.tokensPerSecond * worthMoving >= bound) return settled;
  const passed = [{ score: settled, held: [...draft.held] }];
  const everyone = [...draft.miners.keys()];
  const final = improve(draft, everyone, asGood * bound, (score) => passed.push({ score, held: [...draft.held] }));
  const covering = passed.find(({ score }) => score.coverage === final.coverage);
  const pays = (covering?.score.tokensPerSecond ?? 0) * worthMoving < final.tokensPerSecond;
  const chosen = pays
    ? passed.find(
        ({ score }) => score.coverage === final.coverage && score.tokensPerSecond >= asGood * final.tokensPerSecond,
      )
    : covering;
  restore(draft, chosen?.held ?? []);
  return chosen?.score ?? settled;
}

function restore(draft: Draft, held: readonly StageSet[]): void {
  for (const [miner, stages] of held.entries()) draft.hold(miner, stages);
}

function resultOf({ miners }: PlacementRequest, draft: Draft, kept: readonly StageSet[]): Placement {
  const explanations = Map.groupBy(explain(draft, kept), ({ minerId }) => minerId);
  const places = new Map(draft.miners.map(({ minerId }, miner) => [minerId, stagesOf(draft.heldBy(miner))]));
  return {
    assignments: miners.map(({ minerId }) => ({ minerId, stages: places.get(minerId) ?? [] })),
    tokensPerSecond: draft.score().tokensPerSecond,
    moves: draft.held.reduce((sum, held, miner) => sum + stagesOf(held & ~(kept[miner] ?? 0)).length, 0),
    explanations: miners.flatMap(({ minerId }) => explanations.get(minerId) ?? []),
  };
}
