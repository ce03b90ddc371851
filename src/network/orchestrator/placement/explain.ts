/** Why a placement is as it is, and what it lets through: for the run's view, `tah run placement` and whoever wonders. */
import type { PlacementExplanation, PlacementView } from "../../../protocol/placement-view.ts";
import { Draft } from "./draft.ts";
import type { Placement, PlacementRequest } from "./placement.ts";
import { hasStage, type StageSet, stageSet, stagesOf } from "./stage-set.ts";

/** A departure that leaves more than this of the tokens per second is nothing to tell. */
const unnoticedShare = 0.9;

/** By miner, in the draft's order, and stage. `kept`: what each miner held before. */
export function explain(draft: Draft, kept: readonly StageSet[]): PlacementExplanation[] {
  const { shareOf } = ratesOf(draft);
  const least = Math.min(...draft.stages.map(({ memoryBytes }) => memoryBytes));
  return draft.miners.flatMap(({ minerId, memoryBytes }, miner): PlacementExplanation[] => {
    const held = draft.heldBy(miner);
    if (held === 0) return [{ kind: "idle", minerId, neededBytes: least, memoryBytes }];
    const freeBytes = memoryBytes - draft.memoryOf(held);
    return stagesOf(held).map((stage) => ({
      kind: "placed",
      minerId,
      stage,
      reason: hasStage(kept[miner] ?? 0, stage) ? "kept" : draft.reasonOf(miner, stage),
      neededBytes: draft.stages[stage]?.memoryBytes ?? 0,
      freeBytes,
      share: shareOf(miner, stage),
    }));
  });
}

/** What people see of a placement: with what each stage gets, and whose departure would be felt. */
export function placementView(request: PlacementRequest, placement: Placement): PlacementView {
  const draft = new Draft(request.stages, request.miners);
  const held = new Map(placement.assignments.map(({ minerId, stages }) => [minerId, stageSet(stages)]));
  for (const [miner, { minerId }] of draft.miners.entries()) draft.hold(miner, held.get(minerId) ?? 0);
  const { rates } = ratesOf(draft);
  const { tokensPerSecond, bottleneck } = draft.score();
  return {
    tokensPerSecond,
    stages: rates.map((rate, index) => ({ index, tokensPerSecond: rate, bottleneck: hasStage(bottleneck, index) })),
    explanations: placement.explanations,
    departures: [...draft.miners.keys()].flatMap((miner) => departure(draft, miner, tokensPerSecond) ?? []),
  };
}

/** What is left without a miner; null if hardly anything is different. */
function departure(draft: Draft, miner: number, before: number): PlacementView["departures"][number] | null {
  const held = draft.heldBy(miner);
  const minerId = draft.miners[miner]?.minerId;
  if (held === 0 || minerId === undefined) return null;
  const uncovered = stagesOf(held).filter((stage) => draft.replicasOf(stage).all === 1);
  // The cut that a departure makes tighter holds at least one of the miner's stages: no more can be lost than this.
  const leastWork = Math.min(...stagesOf(held).map((stage) => draft.stages[stage]?.work ?? 0));
  const loss = draft.rateOf(miner, held) / leastWork;
  if (uncovered.length === 0 && before - loss >= unnoticedShare * before) return null;
  draft.hold(miner, 0);
  const { tokensPerSecond } = draft.score();
  draft.hold(miner, held);
  return uncovered.length > 0 || tokensPerSecond < unnoticedShare * before
    ? { minerId, tokensPerSecond, uncovered }
    : null;
}

/** Tokens per second of each stage, and which part of them a miner's are. What no stage needs of a group goes to its stages alike. */
function ratesOf(draft: Draft): { rates: readonly number[]; shareOf: (miner: number, stage: number) => number } {
  const { single, several } = draft.rates();
  const { allotted } = draft.throughput();
  const totals = Float64Array.from(single);
  const shares = new Map<StageSet, readonly number[]>();
  for (const [index, { stages, rate }] of several.entries()) {
    const flow = allotted[index] ?? [];
    const spare = Math.max(0, rate - flow.reduce((sum, part) => sum + part, 0)) / stagesOf(stages).length;
    const given = flow.map((part, stage) => (hasStage(stages, stage) ? part + spare : 0));
    for (const [stage, part] of given.entries()) totals[stage] = (totals[stage] ?? 0) + part;
    shares.set(
      stages,
      given.map((part) => (rate > 0 ? part / rate : 0)),
    );
  }
  return {
    rates: draft.stages.map(({ work }, stage) => (totals[stage] ?? 0) / work),
    shareOf: (miner, stage) => {
      const held = draft.heldBy(miner);
      const total = totals[stage] ?? 0;
      const part = shares.get(held)?.[stage] ?? 1;
      return total > 0 ? Math.min(1, (draft.rateOf(miner, held) * part) / total) : 0;
    },
  };
}
