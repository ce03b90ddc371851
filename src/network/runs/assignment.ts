/**
 * Which run each miner works for. Runs have shares of the swarm's measured capacity in proportion to their weights; first,
 * though, each gets miners whose memory holds all its stages, without which it cannot train at all. Which of them then holds
 * which stage is the run's own business (`orchestrator/placement`). A pure function: the same runs and miners, in whatever
 * order, have the same answer, and the answer to an answer is itself.
 */
import type { MinerId, RunId } from "../../protocol/ids.ts";

export interface AssignableRun {
  readonly runId: RunId;
  readonly weight: number;
  /** Memory that a replica of each stage takes. */
  readonly stageBytes: readonly number[];
}

export interface AssignableMiner {
  readonly minerId: MinerId;
  /** Works for this run, or did before its connection was lost. */
  readonly runId: RunId | null;
  /** Through one block, forward and backward; null: not measured, taken for the median of the others. */
  readonly tokensPerSecond: number | null;
  /** That its stages may take together. */
  readonly memoryBytes: number;
  /** Has a place in an epoch that is under way: between equals, the others move. */
  readonly busy: boolean;
}

/** Miners stay where they are while no run has more than this much more or less than its share. */
const tolerance = 0.1;
/** Sums of capacities are not exact: a smaller part of the whole is no gain. */
const roundingShare = 1e-9;

/** Who can hold what depends on who is where: so often the answer is asked for again, at most. */
const mostRounds = 8;

/** Has every miner in it, unless there are no runs. */
export function assignRuns(
  runs: readonly AssignableRun[],
  miners: readonly AssignableMiner[],
): ReadonlyMap<MinerId, RunId> {
  const [only] = runs;
  if (only !== undefined && runs.length === 1) return new Map(miners.map(({ minerId }) => [minerId, only.runId]));
  let workers = workersOf(miners);
  for (let round = 0; round < mostRounds; round++) {
    const teams = assign(runs, workers);
    const runOf = new Map(
      teams.flatMap(({ run, workers: own }) => [...own].map((worker) => [worker, run.runId] as const)),
    );
    if (workers.every((worker) => worker.runId === runOf.get(worker))) break;
    workers = workers.map((worker) => ({ ...worker, runId: runOf.get(worker) ?? null }));
  }
  return new Map(workers.flatMap(({ minerId, runId }) => (runId === null ? [] : [[minerId, runId] as const])));
}

function assign(runs: readonly AssignableRun[], workers: readonly Worker[]): readonly Team[] {
  const teams = formTeams(runsToServe(runs, workers), workers);
  placeFree(teams, workers);
  if (teams.some(({ capacity, share }) => Math.abs(capacity - share) > tolerance * share)) level(teams);
  return teams;
}

interface Worker extends Omit<AssignableMiner, "tokensPerSecond"> {
  readonly capacity: number;
}

/** A run, and a few miners that can hold its stages. */
interface Crew {
  readonly run: AssignableRun;
  readonly workers: readonly Worker[];
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
    .map(({ tokensPerSecond, ...miner }) => ({ ...miner, capacity: tokensPerSecond || median }))
    .sort((a, b) => b.capacity - a.capacity || byText(a.minerId, b.minerId));
}

/**
 * As many runs as can be served, the heaviest first, among equals those that have miners already. Where none can, the one that
 * takes the least memory gathers them all.
 */
function runsToServe(runs: readonly AssignableRun[], workers: readonly Worker[]): readonly Crew[] {
  const present = countBy(workers, ({ runId }) => runId);
  const ranked = [...runs].sort(
    (a, b) =>
      b.weight - a.weight || (present.get(b.runId) ?? 0) - (present.get(a.runId) ?? 0) || byText(a.runId, b.runId),
  );
  const known = new Set<RunId | null>(runs.map(({ runId }) => runId));
  const taken = new Set<Worker>();
  const largestFirst = [...workers].sort((a, b) => b.memoryBytes - a.memoryBytes);
  const crews = ranked.flatMap((run) => {
    const free = largestFirst.filter((worker) => !taken.has(worker));
    // Its own miners, those of none, and others'.
    const groups = [
      free.filter(({ runId }) => runId === run.runId),
      free.filter(({ runId }) => !known.has(runId)),
      free.filter(({ runId }) => runId !== run.runId && known.has(runId)),
    ];
    const crew = smallestCrew(run, groups);
    for (const worker of crew ?? []) taken.add(worker);
    return crew === undefined ? [] : [{ run, workers: crew }];
  });
  if (crews.length > 0) return crews;
  const leanest = [...ranked].sort((a, b) => sum(a.stageBytes) - sum(b.stageBytes)).slice(0, 1);
  return leanest.map((run) => ({ run, workers: [] }));
}

/** Some that can hold every stage and none too many, those of the first groups if possible; each has its largest first. */
function smallestCrew(
  { stageBytes }: AssignableRun,
  groups: readonly (readonly Worker[])[],
): readonly Worker[] | undefined {
  const [leastBytes, largestBytes] = [Math.min(...stageBytes), Math.max(...stageBytes)];
  const largest = Math.max(...groups.map(([first]) => first?.memoryBytes ?? 0));
  if (largest < largestBytes) return undefined;
  const crew: Worker[] = [];
  for (const group of groups)
    for (const worker of group) {
      if (worker.memoryBytes < leastBytes) break;
      if (!canHold(stageBytes, [...crew, worker])) crew.push(worker);
      else {
        // What is too large for this may be just right for another run.
        const last = group.findLast((one) => !crew.includes(one) && canHold(stageBytes, [...crew, one])) ?? worker;
        return withoutSpare(stageBytes, [...crew, last]);
      }
    }
  return undefined;
}

function withoutSpare(stageBytes: readonly number[], crew: readonly Worker[]): readonly Worker[] {
  return crew.reduceRight((rest, worker) => {
    const without = rest.filter((one) => one !== worker);
    return canHold(stageBytes, without) ? without : rest;
  }, crew);
}

/** Best fit decreasing: each stage, the largest first, to whom it leaves the least room. */
function canHold(stageBytes: readonly number[], workers: readonly Worker[]): boolean {
  const room = workers.map(({ memoryBytes }) => memoryBytes).sort((a, b) => a - b);
  for (const bytes of stageBytes.toSorted((a, b) => b - a)) {
    const index = room.findIndex((free) => free >= bytes);
    const [free] = index === -1 ? [] : room.splice(index, 1);
    if (free === undefined) return false;
    const left = free - bytes;
    room.splice(room.findLastIndex((other) => other <= left) + 1, 0, left);
  }
  return true;
}

/** Everyone stays where they are, except for those without whom another run cannot train. */
function formTeams(crews: readonly Crew[], workers: readonly Worker[]): readonly Team[] {
  const capacity = sum(workers.map((worker) => worker.capacity));
  const weights = sum(crews.map(({ run }) => run.weight));
  const wanted = new Map(crews.flatMap(({ run, workers: crew }) => crew.map((worker) => [worker, run] as const)));
  return crews.map(({ run }) => {
    const own = workers.filter((worker) => (wanted.get(worker)?.runId ?? worker.runId) === run.runId);
    return {
      run,
      share: (capacity * run.weight) / weights,
      workers: new Set(own),
      capacity: sum(own.map((worker) => worker.capacity)),
    };
  });
}

/** Each goes to the run that lacks the most of its share. */
function placeFree(teams: readonly Team[], workers: readonly Worker[]): void {
  const taken = new Set(teams.flatMap((team) => [...team.workers]));
  for (const worker of workers) {
    if (taken.has(worker)) continue;
    const neediest = teams.toSorted((a, b) => surplus(a) - surplus(b))[0];
    if (neediest !== undefined) add(neediest, worker);
  }
}

/** Moves one miner after the other as long as that brings runs closer to their shares. */
function level(teams: readonly Team[]): void {
  const least = roundingShare * sum(teams.map(({ share }) => share));
  for (;;) {
    const givers = teams.filter((team) => surplus(team) > 0);
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
        if ((best === undefined || isBetter(move, best)) && canSpare(from, worker)) best = move;
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

function canSpare({ run, workers }: Team, leaving: Worker): boolean {
  const { stageBytes } = run;
  const largestBytes = Math.max(...stageBytes);
  // In a large swarm there is somebody for each stage, and no need to try.
  let ample = 0;
  for (const worker of workers) if (worker !== leaving && worker.memoryBytes >= largestBytes) ample++;
  if (ample >= stageBytes.length) return true;
  return canHold(
    stageBytes,
    [...workers].filter((worker) => worker !== leaving),
  );
}

function surplus({ capacity, share }: Team): number {
  return capacity - share;
}

function countBy<T, K>(items: readonly T[], keyOf: (item: T) => K): ReadonlyMap<K, number> {
  const counts = new Map<K, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return counts;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
