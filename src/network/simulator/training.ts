/** One attempt at an epoch while it trains: who sends how much, and how far everybody is. */
import { type EpochRef, type MinerId, type PlaceRef, sameEpoch } from "../../protocol/ids.ts";
import type { Roster } from "../../protocol/roster.ts";
import { sourceShares } from "../../protocol/source-shares.ts";
import type { RunDefinition } from "../orchestrator/core/definition.ts";
import { FlowModel } from "./flow-model.ts";
import type { VirtualMiner } from "./virtual-miner.ts";

export class Training {
  readonly at: EpochRef;
  readonly #flow: FlowModel;
  readonly #stagesOf = new Map<MinerId, readonly number[]>();
  /** By source, its microbatches in all steps. */
  readonly #shares: ReadonlyMap<MinerId, number>;
  readonly #plannedTokens: number;
  readonly #done = new Set<MinerId>();
  #hasEnded = false;

  constructor(
    { runId, epoch, attempt }: EpochRef,
    roster: Roster,
    miners: ReadonlyMap<MinerId, VirtualMiner>,
    { training }: RunDefinition,
    latencyMs: number,
    atMs: number,
  ) {
    this.at = { runId, epoch, attempt };
    const { sequenceLength, sequencesPerMicrobatch, microbatchesPerStep, stepsPerEpoch } = training;
    const microbatchTokens = sequenceLength * sequencesPerMicrobatch;
    const shares = sourceShares(roster.sources, microbatchesPerStep);
    this.#shares = new Map(
      roster.sources.map(({ minerId }, index) => [minerId, (shares[index]?.count ?? 0) * stepsPerEpoch]),
    );
    for (const [minerId, microbatches] of this.#shares) if (microbatches === 0) this.#done.add(minerId);
    for (const [stage, replicas] of roster.stages.entries())
      for (const { minerId } of replicas) this.#stagesOf.set(minerId, [...(this.#stagesOf.get(minerId) ?? []), stage]);
    const rates = roster.stages.map(
      (replicas) =>
        new Map(
          replicas.map(({ minerId }) => [
            minerId,
            miners.get(minerId)?.tokensPerSecond(this.#stagesOf.get(minerId) ?? []) ?? 0,
          ]),
        ),
    );
    const sources = Array.from(this.#shares, ([minerId, microbatches]) => ({
      minerId,
      tokens: microbatches * microbatchTokens,
    }));
    this.#plannedTokens = sources.reduce((sum, { tokens }) => sum + tokens, 0);
    this.#flow = new FlowModel(rates, sources, {
      atMs,
      steps: stepsPerEpoch,
      flushSeconds: pathSeconds(rates, microbatchTokens, latencyMs),
    });
  }

  /** When the next source is done; null: none will be. */
  nextDoneMs(): number | null {
    return this.#hasEnded ? null : this.#flow.nextDoneMs();
  }

  /** The source that is done by now, once. */
  takeDone(atMs: number): MinerId | undefined {
    const minerId = this.#flow.takeDone(atMs);
    if (minerId !== undefined) this.#done.add(minerId);
    return minerId;
  }

  isDone(minerId: MinerId): boolean {
    return this.#done.has(minerId);
  }

  microbatchesOf(minerId: MinerId): number {
    return this.#shares.get(minerId) ?? 0;
  }

  tokensOf(at: PlaceRef, minerId: MinerId, atMs: number): number {
    if (!sameEpoch(at, this.at)) return 0;
    return Math.min(this.#plannedTokens, this.#flow.tokensOf(at.stage, minerId, atMs));
  }

  pause(minerId: MinerId, atMs: number): void {
    this.#flow.pause(minerId, atMs);
  }

  resume(minerId: MinerId, atMs: number): void {
    if (!this.#hasEnded) this.#flow.resume(minerId, atMs);
  }

  changeSpeed(miner: VirtualMiner, atMs: number): void {
    const stages = this.#stagesOf.get(miner.minerId);
    if (stages !== undefined) this.#flow.setRate(miner.minerId, miner.tokensPerSecond(stages), atMs);
  }

  /** No source goes on. */
  end(at: EpochRef): void {
    if (sameEpoch(at, this.at)) this.#hasEnded = true;
  }
}

/** From a microbatch's start at the source until its gradient is back, at replicas of average speed. */
function pathSeconds(
  rates: readonly ReadonlyMap<MinerId, number>[],
  microbatchTokens: number,
  latencyMs: number,
): number {
  const hops = (2 * (rates.length - 1) * latencyMs) / 1000;
  return rates.reduce((seconds, ofStage) => {
    const total = [...ofStage.values()].reduce((sum, rate) => sum + rate, 0);
    return seconds + (microbatchTokens * ofStage.size) / total;
  }, hops);
}
