/**
 * How many tokens per second a placement lets through. A miner divides its rate among its stages, so the answer is the largest T
 * for which a flow exists that brings T · work(s) to every stage s from the miners that hold it. By max-flow/min-cut (Ford &
 * Fulkerson 1956) that is the smallest ratio, over all sets of stages, of the rate of the miners that hold any of them to the
 * work of all of them; it is found by Dinkelbach's method (1967): while a flow for T does not exist, the cut that proves it names
 * a set with a smaller ratio.
 */
import { firstStage, hasStage, type StageSet } from "./stage-set.ts";

/** The miners of a placement, as far as the flow cares. All rates are in tokens per second through one block. */
export interface Rates {
  /** By stage: of the miners that hold nothing else. */
  readonly single: ArrayLike<number>;
  /** Miners that hold the same several stages are one group: only the sum of their rates matters. */
  readonly several: readonly Group[];
}

export interface Group {
  readonly stages: StageSet;
  readonly rate: number;
}

export interface Throughput {
  /** Of the slowest stage. */
  readonly tokensPerSecond: number;
  /** The largest set of stages that are as slow as that, all of whose miners are busy with them. */
  readonly bottleneck: StageSet;
  /** By group and stage: which part of the group's rate the stage gets; what no stage needs is left. */
  readonly allotted: readonly (readonly number[])[];
}

/** Shares of a flow that are nothing but rounding. */
const negligible = 1e-9;

/** `work`: by stage, the cost of a token relative to one block. */
export function throughputOf(work: readonly number[], rates: Rates): Throughput {
  let tokensPerSecond = ceilingOf(work, rates);
  for (;;) {
    const flow = new Flow(work, rates, tokensPerSecond);
    const short = flow.saturate();
    const smaller = short === 0 ? tokensPerSecond : capacity(work, rates, short);
    if (!(smaller < tokensPerSecond * (1 - negligible)))
      return { tokensPerSecond, bottleneck: flow.stagesWithoutSlack(), allotted: flow.allotted };
    tokensPerSecond = smaller;
  }
}

/** A quick limit of the throughput: that of each stage with all its miners to itself, and of all stages with all miners. */
export function ceilingOf(work: readonly number[], rates: Rates): number {
  let tokensPerSecond = capacity(work, rates, 2 ** work.length - 1);
  for (let stage = 0; stage < work.length; stage++)
    tokensPerSecond = Math.min(tokensPerSecond, capacity(work, rates, 1 << stage));
  return tokensPerSecond;
}

/** Tokens per second that the miners of a set of stages could bring to all of it, at most. */
function capacity(work: readonly number[], { single, several }: Rates, set: StageSet): number {
  let [rate, total] = [0, 0];
  for (const group of several) if ((group.stages & set) !== 0) rate += group.rate;
  for (let rest = set; rest !== 0; rest &= rest - 1) {
    const stage = firstStage(rest);
    rate += single[stage] ?? 0;
    total += work[stage] ?? 0;
  }
  return rate / total;
}

/** A flow from groups to stages that is meant to bring a given number of tokens per second to each stage. */
class Flow {
  readonly allotted: readonly number[][];
  readonly #groups: readonly Group[];
  readonly #single: ArrayLike<number>;
  readonly #demand: readonly number[];
  /** Of each stage's demand, what is not met yet. */
  readonly #missing: number[];
  /** Of each group's rate, what is not used yet. */
  readonly #unused: number[];

  constructor(work: readonly number[], { single, several }: Rates, tokensPerSecond: number) {
    this.#groups = several;
    this.#single = single;
    this.#demand = work.map((cost) => cost * tokensPerSecond);
    this.#missing = this.#demand.map((demand, stage) => Math.max(0, demand - (single[stage] ?? 0)));
    this.#unused = several.map((group) => group.rate);
    this.allotted = several.map(() => new Array<number>(work.length).fill(0));
  }

  /** Meets all demand and returns the empty set; or returns a set of stages whose miners, all busy, are too slow for it. */
  saturate(): StageSet {
    for (let stage = 0; stage < this.#demand.length; stage++)
      while (this.#isShort(stage)) {
        const reached = this.#augment(stage);
        if (reached !== 0) return reached;
      }
    return 0;
  }

  /** The stages to which the flow can bring no more than it does, however it is rerouted. */
  stagesWithoutSlack(): StageSet {
    let tight: StageSet = 0;
    for (const [stage, demand] of this.#demand.entries())
      if ((this.#single[stage] ?? 0) <= demand * (1 + negligible)) tight |= 1 << stage;
    for (let before = -1; before !== tight; ) {
      before = tight;
      for (let index = 0; index < this.#groups.length; index++) {
        const stages = this.#groups[index]?.stages ?? 0;
        if ((stages & tight) !== 0 && (this.#hasSpare(index) || this.#givesAny(index, stages & ~tight)))
          tight &= ~stages;
      }
    }
    return tight;
  }

  #isShort(stage: number): boolean {
    return (this.#missing[stage] ?? 0) > negligible * (this.#demand[stage] ?? 0);
  }

  #hasSpare(index: number): boolean {
    return (this.#unused[index] ?? 0) > negligible * (this.#groups[index]?.rate ?? 0);
  }

  #gives(index: number, stage: number): boolean {
    return (this.allotted[index]?.[stage] ?? 0) > negligible * (this.#groups[index]?.rate ?? 0);
  }

  #givesAny(index: number, stages: StageSet): boolean {
    for (let rest = stages; rest !== 0; rest &= rest - 1) if (this.#gives(index, firstStage(rest))) return true;
    return false;
  }

  /**
   * Brings more to a stage along a shortest path (Edmonds & Karp 1972): a group gives the stage what it gave to another, which
   * is given more by the next group, and so on to a group with a rate to spare. Returns the empty set, or, when there is no such
   * path, the stages that were reached.
   */
  #augment(target: number): StageSet {
    const cameFrom = new Map<number, Link>();
    let reached: StageSet = 1 << target;
    const queue = [target];
    for (const stage of queue)
      for (let index = 0; index < this.#groups.length; index++) {
        const stages = this.#groups[index]?.stages ?? 0;
        if (!hasStage(stages, stage)) continue;
        if (this.#hasSpare(index)) {
          this.#reroute(target, stage, index, cameFrom);
          return 0;
        }
        for (let rest = stages & ~reached; rest !== 0; rest &= rest - 1) {
          const other = firstStage(rest);
          if (!this.#gives(index, other)) continue;
          reached |= 1 << other;
          cameFrom.set(other, { stage, group: index });
          queue.push(other);
        }
      }
    return reached;
  }

  #reroute(target: number, last: number, spare: number, cameFrom: ReadonlyMap<number, Link>): void {
    let amount = Math.min(this.#unused[spare] ?? 0, this.#missing[target] ?? 0);
    for (let step = cameFrom.get(last), from = last; step; from = step.stage, step = cameFrom.get(from))
      amount = Math.min(amount, this.allotted[step.group]?.[from] ?? 0);
    for (let step = cameFrom.get(last), from = last; step; from = step.stage, step = cameFrom.get(from)) {
      add(this.allotted[step.group], from, -amount);
      add(this.allotted[step.group], step.stage, amount);
    }
    add(this.allotted[spare], last, amount);
    add(this.#unused, spare, -amount);
    add(this.#missing, target, -amount);
  }
}

/** A group gives to a stage what it gave to the one from which the search came. */
interface Link {
  readonly stage: number;
  readonly group: number;
}

function add(values: number[] | undefined, index: number, amount: number): void {
  if (values) values[index] = (values[index] ?? 0) + amount;
}
