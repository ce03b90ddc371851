/** A placement while it is being worked out: changed miner by miner, measured after each change. */
import type { PlacementReason } from "../../../protocol/placement-view.ts";
import type { MinerResources, StageNeed } from "./placement.ts";
import { countStages, firstStage, hasStage, isSeveral, mostStages, type StageSet, stagesOf } from "./stage-set.ts";
import { ceilingOf, type Group, type Rates, type Throughput, throughputOf } from "./throughput.ts";

/** How good a placement is. Coverage counts first, then tokens per second, then how few stages are as slow as that. */
export interface Score {
  /** Stages with a replica, with a reliable one, and with two of those, as one number that puts them in this order. */
  readonly coverage: number;
  readonly tokensPerSecond: number;
  readonly bottleneck: StageSet;
  /** Of the bottleneck: as long as several stages are equally slow, making one faster is progress. */
  readonly bottleneckWork: number;
}

/** Tokens per second that differ by less are the same. */
export const roundingShare = 1e-6;

export function isBetter(a: Score, b: Score): boolean {
  if (a.coverage !== b.coverage) return a.coverage > b.coverage;
  if (a.tokensPerSecond > b.tokensPerSecond * (1 + roundingShare)) return true;
  if (a.tokensPerSecond < b.tokensPerSecond * (1 - roundingShare)) return false;
  return a.bottleneckWork < b.bottleneckWork * (1 - roundingShare);
}

interface Replicas {
  all: number;
  reliable: number;
}

export class Draft {
  readonly stages: readonly StageNeed[];
  readonly miners: readonly MinerResources[];
  /** By miner: what it holds. */
  readonly held: StageSet[];
  readonly #work: readonly number[];
  /** By miner and stage: why it was given the stage. */
  readonly #reasons = new Map<number, PlacementReason>();
  readonly #groups = new Map<StageSet, { rate: number; miners: number }>();
  readonly #replicas: readonly Replicas[];

  constructor(stages: readonly StageNeed[], miners: readonly MinerResources[]) {
    this.stages = stages;
    this.miners = miners;
    this.held = miners.map(() => 0);
    this.#work = stages.map((stage) => stage.work);
    this.#replicas = stages.map(() => ({ all: 0, reliable: 0 }));
  }

  heldBy(miner: number): StageSet {
    return this.held[miner] ?? 0;
  }

  hold(miner: number, stages: StageSet): void {
    const before = this.heldBy(miner);
    if (before === stages) return;
    const resources = this.miners[miner];
    if (resources === undefined) return;
    this.#count(resources, before, -1);
    this.#count(resources, stages, 1);
    this.held[miner] = stages;
  }

  /** Somebody who is not among the draft's miners, and stays. */
  countSettled(resources: MinerResources, stages: StageSet): void {
    this.#count(resources, stages, 1);
  }

  memoryOf(stages: StageSet): number {
    let bytes = 0;
    for (let rest = stages; rest !== 0; rest &= rest - 1) bytes += this.stages[firstStage(rest)]?.memoryBytes ?? 0;
    return bytes;
  }

  fits(miner: number, stages: StageSet): boolean {
    const { memoryBytes = 0, maximumStages = 0 } = this.miners[miner] ?? {};
    return countStages(stages) <= maximumStages && this.memoryOf(stages) <= memoryBytes;
  }

  /** Each stage for which there is room beside what is held: one of them, not all. */
  roomBeside(miner: number, held: StageSet): StageSet {
    const freeBytes = this.#freeBytes(miner, held);
    let set: StageSet = held;
    for (let stage = 0; stage < this.stages.length; stage++)
      if ((this.stages[stage]?.memoryBytes ?? 0) <= freeBytes) set |= 1 << stage;
    return set & ~held;
  }

  countRoomBeside(miner: number, held: StageSet): number {
    const freeBytes = this.#freeBytes(miner, held);
    let count = 0;
    for (const { memoryBytes } of this.stages) if (memoryBytes <= freeBytes) count++;
    return count;
  }

  /** For one more stage; less than any stage takes where its owner allows no more. */
  #freeBytes(miner: number, held: StageSet): number {
    const { memoryBytes = 0, maximumStages = 0 } = this.miners[miner] ?? {};
    return countStages(held) < maximumStages ? memoryBytes - this.memoryOf(held) : -1;
  }

  /**
   * Tokens per second through one block that the miner brings to its stages: its link has to carry what crosses it, and of
   * several stages the one with the most traffic decides.
   */
  rateOf(miner: number, stages: StageSet): number {
    const resources = this.miners[miner];
    return resources === undefined ? 0 : this.#rateWith(resources, stages);
  }

  replicasOf(stage: number): Readonly<Replicas> {
    return this.#replicas[stage] ?? { all: 0, reliable: 0 };
  }

  /** Stages that lack a second reliable replica, or even a first one. */
  uncovered(): StageSet {
    return this.#replicas.reduce((set, { reliable }, stage) => (reliable < 2 ? set | (1 << stage) : set), 0);
  }

  /** As `hold`, remembering what the new ones among the stages are good for now. */
  give(miner: number, stages: StageSet, bottleneck: StageSet): void {
    for (const stage of stagesOf(stages & ~this.heldBy(miner)))
      this.#reasons.set(miner * mostStages + stage, this.#reasonFor(stage, bottleneck));
    this.hold(miner, stages);
  }

  reasonOf(miner: number, stage: number): PlacementReason {
    return this.#reasons.get(miner * mostStages + stage) ?? "exchange";
  }

  rates(): Rates {
    const single = new Array<number>(this.stages.length).fill(0);
    const several: Group[] = [];
    for (const [stages, { rate }] of this.#groups)
      if (isSeveral(stages)) several.push({ stages, rate });
      else single[firstStage(stages)] = rate;
    return { single, several };
  }

  throughput(): Throughput {
    return throughputOf(this.#work, this.rates());
  }

  coverage(): number {
    const places = this.stages.length + 1;
    let [covered, reliably, doubly] = [0, 0, 0];
    for (const { all, reliable } of this.#replicas) {
      if (all > 0) covered++;
      if (reliable > 0) reliably++;
      if (reliable > 1) doubly++;
    }
    return (covered * places + reliably) * places + doubly;
  }

  /** Tokens per second are not more than this. */
  ceiling(): number {
    return ceilingOf(this.#work, this.rates());
  }

  score(): Score {
    const { tokensPerSecond, bottleneck } = this.throughput();
    const bottleneckWork = stagesOf(bottleneck).reduce((sum, stage) => sum + (this.#work[stage] ?? 0), 0);
    return { coverage: this.coverage(), tokensPerSecond, bottleneck, bottleneckWork };
  }

  #reasonFor(stage: number, bottleneck: StageSet): PlacementReason {
    const { all, reliable } = this.replicasOf(stage);
    if (all === 0) return "first-replica";
    if (reliable < 2) return "second-replica";
    return hasStage(bottleneck, stage) ? "bottleneck" : "exchange";
  }

  #rateWith({ blockTokensPerSecond, linkBytesPerSecond }: MinerResources, stages: StageSet): number {
    if (stages === 0) return 0;
    let rate = blockTokensPerSecond;
    if (linkBytesPerSecond === null) return rate;
    for (let rest = stages; rest !== 0; rest &= rest - 1) {
      const { work = 0, bytesPerToken = 0 } = this.stages[firstStage(rest)] ?? {};
      if (bytesPerToken > 0) rate = Math.min(rate, (linkBytesPerSecond / bytesPerToken) * work);
    }
    return rate;
  }

  #count(resources: MinerResources, stages: StageSet, sign: 1 | -1): void {
    if (stages === 0) return;
    const rate = sign * this.#rateWith(resources, stages);
    const group = this.#groups.get(stages) ?? { rate: 0, miners: 0 };
    group.miners += sign;
    group.rate += rate;
    this.#groups.set(stages, group);
    // Sums from which all was taken back again leave a rest that is none.
    if (group.miners === 0) this.#groups.delete(stages);
    for (let rest = stages; rest !== 0; rest &= rest - 1) {
      const replicas = this.#replicas[firstStage(rest)];
      if (replicas === undefined) continue;
      replicas.all += sign;
      if (resources.reliable) replicas.reliable += sign;
    }
  }
}
