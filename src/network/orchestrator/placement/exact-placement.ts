/**
 * The best placement of a few miners, by trying all: what tests hold the search to. It shares no arithmetic of speeds with it: tokens per
 * second are the smallest ratio over all sets of stages, straight from the min-cut theorem.
 */
import type { Assignment, MinerResources, PlacementRequest, StageNeed } from "./placement.ts";
import { countStages } from "./stage-set.ts";

export interface ExactScore {
  /** Stages with a replica, with a reliable one, with two reliable ones. */
  readonly coverage: readonly [number, number, number];
  readonly tokensPerSecond: number;
}

type Swarm = Pick<PlacementRequest, "stages" | "miners">;

/** What a miner could hold: stages as bits, and its rate with them. */
interface Choice {
  readonly set: number;
  readonly rate: number;
}

/** The best score that any placement reaches, whatever it moves. Time grows as (2 ^ stages) ^ miners. */
export function bestScore(swarm: Swarm): ExactScore {
  const choices = swarm.miners.map((miner) => undominated(choicesOf(swarm.stages, miner)));
  let best: ExactScore = { coverage: [0, 0, 0], tokensPerSecond: 0 };
  const chosen: Choice[] = [];
  const visit = (miner: number): void => {
    const possible = choices[miner];
    if (possible === undefined) {
      const score = exactScore(swarm, chosen);
      if (isBetterScore(score, best)) best = score;
      return;
    }
    for (const choice of possible) {
      chosen[miner] = choice;
      visit(miner + 1);
    }
  };
  visit(0);
  return best;
}

export function scoreOf(swarm: Swarm, assignments: readonly Assignment[]): ExactScore {
  const chosen = swarm.miners.map((miner) => {
    const held = assignments.find(({ minerId }) => minerId === miner.minerId)?.stages ?? [];
    const set = held.reduce((bits, stage) => bits | (1 << stage), 0);
    return { set, rate: rateOf(swarm.stages, miner, set) };
  });
  return exactScore(swarm, chosen);
}

function choicesOf(stages: readonly StageNeed[], miner: MinerResources): Choice[] {
  return Array.from({ length: 2 ** stages.length }, (_, set) => ({ set, rate: rateOf(stages, miner, set) })).filter(
    ({ set }) =>
      countStages(set) <= miner.maximumStages &&
      total(stages, set, ({ memoryBytes }) => memoryBytes) <= miner.memoryBytes,
  );
}

/** Without those that another one contains at no lower rate: only a link can make it lower. */
function undominated(choices: readonly Choice[]): Choice[] {
  return choices.filter(
    ({ set, rate }) => !choices.some((other) => other.set !== set && (other.set & set) === set && other.rate >= rate),
  );
}

function isBetterScore(a: ExactScore, b: ExactScore): boolean {
  for (const level of [0, 1, 2] as const)
    if (a.coverage[level] !== b.coverage[level]) return a.coverage[level] > b.coverage[level];
  return a.tokensPerSecond > b.tokensPerSecond;
}

function exactScore({ stages, miners }: Swarm, chosen: readonly Choice[]): ExactScore {
  let [covered, reliably, doubly] = [0, 0, 0];
  for (let stage = 0; stage < stages.length; stage++) {
    let [all, reliable] = [0, 0];
    for (const [miner, { set }] of chosen.entries()) {
      if ((set & (1 << stage)) === 0) continue;
      all++;
      if (miners[miner]?.reliable) reliable++;
    }
    covered += Number(all > 0);
    reliably += Number(reliable > 0);
    doubly += Number(reliable > 1);
  }
  let tokensPerSecond = Number.POSITIVE_INFINITY;
  for (let set = 1; set < 2 ** stages.length; set++) {
    let rate = 0;
    for (const choice of chosen) if ((choice.set & set) !== 0) rate += choice.rate;
    tokensPerSecond = Math.min(tokensPerSecond, rate / total(stages, set, ({ work }) => work));
  }
  return { coverage: [covered, reliably, doubly], tokensPerSecond };
}

function rateOf(stages: readonly StageNeed[], miner: MinerResources, set: number): number {
  const link = miner.linkBytesPerSecond ?? Number.POSITIVE_INFINITY;
  const held = stages.filter((_, stage) => (set & (1 << stage)) !== 0);
  return Math.min(miner.blockTokensPerSecond, ...held.map(({ work, bytesPerToken }) => (link / bytesPerToken) * work));
}

function total(stages: readonly StageNeed[], set: number, of: (stage: StageNeed) => number): number {
  let sum = 0;
  for (const [stage, need] of stages.entries()) if ((set & (1 << stage)) !== 0) sum += of(need);
  return sum;
}
