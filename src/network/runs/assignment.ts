/**
 * Which run each miner works for. Runs have shares of the swarm's measured capacity in proportion to their weights; first,
 * though, each gets the miners without which it cannot train at all. A pure function: the same runs and miners, in whatever
 * order, have the same answer, and the answer to an answer is itself.
 */
import type { MinerId, RunId } from "../../protocol/ids.ts";

export interface AssignableRun {
  readonly runId: RunId;
  readonly weight: number;
  /** With fewer it cannot train. */
  readonly minimumMiners: number;
}

export interface AssignableMiner {
  readonly minerId: MinerId;
  /** Works for this run, or did before its connection was lost. */
  readonly runId: RunId | null;
  /** Through one block, forward and backward; null: not measured, taken for the median of the others. */
  readonly tokensPerSecond: number | null;
  /** Has a place in an epoch that is under way: between equals, the others move. */
  readonly busy: boolean;
}

/** Miners stay where they are while no run has more than this much more or less than its share. */
const tolerance = 0.1;
/** Sums of capacities are not exact: a smaller part of the whole is no gain. */
const roundingShare = 1e-9;

/** Has every miner in it, unless there are no runs. */
export function assignRuns(
  runs: readonly AssignableRun[],
  miners: readonly AssignableMiner[],
): ReadonlyMap<MinerId, RunId> {
  const workers = workersOf(miners);
  const teams = formTeams(runsToServe(runs, miners), workers);
  placeFree(teams, workers);
  fillMinimums(teams);
  if (teams.some(({ capacity, share }) => Math.abs(capacity - share) > tolerance * share)) level(teams);
  return new Map(
    teams.flatMap(({ run, workers: own }) => [...own].map(({ minerId }) => [minerId, run.runId] as const)),
  );
}

interface Worker {
  readonly minerId: MinerId;
  readonly runId: RunId | null;
  readonly capacity: number;
  readonly busy: boolean;
}

/** Those assigned to a run so far. */
interface Team {
  readonly run: AssignableRun;
  /** The capacity that its weight entitles it to. */
  readonly share: number;
  readonly workers: Set<Worker>;
  capacity: number;
}

interface Move {
  readonly worker: Worker;
  readonly from: Team;
  readonly to: Team;
  /** How much closer both runs come to their shares. */
  readonly gain: number;
}

/** The swiftest first: what is placed last can fill small gaps. */
function workersOf(miners: readonly AssignableMiner[]): readonly Worker[] {
  const rates = miners.flatMap(({ tokensPerSecond }) => tokensPerSecond || []).sort((a, b) => a - b);
  const median = rates[Math.floor(rates.length / 2)] ?? 1;
  return miners
    .map(({ minerId, runId, tokensPerSecond, busy }) => ({ minerId, runId, capacity: tokensPerSecond || median, busy }))
    .sort((a, b) => b.capacity - a.capacity || byText(a.minerId, b.minerId));
}

/**
 * As many runs as can be served, the heaviest first, among equals those that have miners already. Where none has enough, the
 * one that lacks the fewest gathers them all.
 */
function runsToServe(runs: readonly AssignableRun[], miners: readonly AssignableMiner[]): readonly AssignableRun[] {
  const present = (run: AssignableRun) => miners.filter(({ runId }) => runId === run.runId).length;
  const ranked = [...runs].sort((a, b) => b.weight - a.weight || present(b) - present(a) || byText(a.runId, b.runId));
  let free = miners.length;
  const served = ranked.filter(({ minimumMiners }) => {
    if (minimumMiners > free) return false;
    free -= minimumMiners;
    return true;
  });
  if (served.length > 0) return served;
  return [...ranked].sort((a, b) => a.minimumMiners - b.minimumMiners).slice(0, 1);
}

function formTeams(runs: readonly AssignableRun[], workers: readonly Worker[]): readonly Team[] {
  const capacity = sum(workers.map((worker) => worker.capacity));
  const weights = sum(runs.map(({ weight }) => weight));
  return runs.map((run) => {
    const own = workers.filter(({ runId }) => runId === run.runId);
    return {
      run,
      share: (capacity * run.weight) / weights,
      workers: new Set(own),
      capacity: sum(own.map((worker) => worker.capacity)),
    };
  });
}

/** Each goes to the run that lacks the most miners of its minimum or, when none does, the most of its share. */
function placeFree(teams: readonly Team[], workers: readonly Worker[]): void {
  const taken = new Set(teams.flatMap((team) => [...team.workers]));
  for (const worker of workers) {
    if (taken.has(worker)) continue;
    const neediest = [...teams].sort((a, b) => missing(b) - missing(a) || surplus(a) - surplus(b))[0];
    if (neediest !== undefined) add(neediest, worker);
  }
}

/** Takes from those that can spare somebody, whatever their shares. */
function fillMinimums(teams: readonly Team[]): void {
  for (const to of teams)
    while (missing(to) > 0) {
      const move = bestMove(teams.filter(canSpare), [to]);
      if (move === undefined) return;
      carryOut(move);
    }
}

/** Moves one miner after the other as long as that brings runs closer to their shares. */
function level(teams: readonly Team[]): void {
  const least = roundingShare * sum(teams.map(({ share }) => share));
  for (;;) {
    const givers = teams.filter((team) => canSpare(team) && surplus(team) > 0);
    const takers = teams.filter((team) => surplus(team) < 0);
    const move = bestMove(givers, takers);
    if (move === undefined || move.gain <= least) return;
    carryOut(move);
  }
}

function bestMove(givers: readonly Team[], takers: readonly Team[]): Move | undefined {
  let best: Move | undefined;
  for (const from of givers)
    for (const to of takers)
      for (const worker of from.workers) {
        const move = { worker, from, to, gain: gainOf(worker, from, to) };
        if (best === undefined || isBetter(move, best)) best = move;
      }
  return best;
}

function gainOf({ capacity }: Worker, from: Team, to: Team): number {
  const [more, less] = [surplus(from), surplus(to)];
  return Math.abs(more) + Math.abs(less) - Math.abs(more - capacity) - Math.abs(less + capacity);
}

function isBetter(move: Move, best: Move): boolean {
  if (move.gain !== best.gain) return move.gain > best.gain;
  if (move.worker.busy !== best.worker.busy) return best.worker.busy;
  return byText(move.worker.minerId, best.worker.minerId) < 0;
}

function carryOut({ worker, from, to }: Move): void {
  from.workers.delete(worker);
  from.capacity -= worker.capacity;
  add(to, worker);
}

function add(team: Team, worker: Worker): void {
  team.workers.add(worker);
  team.capacity += worker.capacity;
}

function missing({ run, workers }: Team): number {
  return Math.max(0, run.minimumMiners - workers.size);
}

function canSpare({ run, workers }: Team): boolean {
  return workers.size > run.minimumMiners;
}

function surplus({ capacity, share }: Team): number {
  return capacity - share;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
