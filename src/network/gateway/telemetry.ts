/** Gathers what miners say about their progress, and sums it up once a second. It touches neither the core nor the log. */

import type { ClientMessage } from "../../protocol/client-messages.ts";
import { type MinerId, sameEpoch } from "../../protocol/ids.ts";
import type { Telemetry } from "../../protocol/run-view.ts";
import { microbatchesPerSource } from "../orchestrator/core/definition.ts";
import { epochTraining } from "../orchestrator/core/planning.ts";
import { liveReplicas } from "../orchestrator/core/replicas.ts";
import { currentEpoch, type RunState } from "../orchestrator/core/state.ts";
import type { Flow } from "./relay.ts";

type Progress = Extract<ClientMessage, { type: "progress" }>;

export class TelemetryDesk {
  /** By miner and stage. */
  readonly #latest = new Map<MinerId, Map<number, Progress>>();

  record(minerId: MinerId, progress: Progress): void {
    const places = this.#latest.get(minerId) ?? new Map<number, Progress>();
    this.#latest.set(minerId, places.set(progress.at.stage, progress));
  }

  forget(minerId: MinerId): void {
    this.#latest.delete(minerId);
  }

  /** What is known of the current epoch attempt; reports about another one do not count. */
  sum(state: RunState, flows: readonly Flow[], atMs: number): Telemetry {
    const byStage = state.stages.map(({ spec }) => this.#reports(state, spec.index));
    const all = byStage.flat();
    const fromSources = byStage[0] ?? [];
    const measured = byStage.at(-1)?.filter((one) => one.lossSumNats !== null && one.tokensBackward > 0) ?? [];
    const tokens = sum(measured.map((one) => one.tokensBackward));
    const done = sum(all.map((one) => one.microbatchesDone));
    return {
      atMs,
      microbatchesDone: sum(fromSources.map((one) => one.microbatchesDone)),
      microbatchesPlanned: liveReplicas(state, 0).length * microbatchesPerSource(epochTraining(state)),
      trainLossNats: tokens === 0 ? null : sum(measured.map((one) => one.lossSumNats ?? 0)) / tokens,
      microbatchesRerouted: sum(all.map((one) => one.microbatchesRerouted)),
      microbatchesStale: sum(all.map((one) => one.microbatchesStale)),
      messagesDamaged: sum(all.map((one) => one.messagesDamaged)),
      staleness: {
        mean: done === 0 ? 0 : sum(all.map((one) => one.stalenessSum)) / done,
        most: Math.max(0, ...all.map((one) => one.stalenessMost)),
      },
      miners: minersOf(all, state.phase.name === "training"),
      flows,
    };
  }

  #reports(state: RunState, stage: number): readonly Report[] {
    const at = currentEpoch(state);
    return liveReplicas(state, stage).flatMap(({ minerId }) => {
      const report = this.#latest.get(minerId)?.get(stage);
      return report !== undefined && sameEpoch(report.at, at) ? [{ ...report, minerId }] : [];
    });
  }
}

type Report = Progress & { readonly minerId: MinerId };

/** One for each miner, whose places are added up. */
function minersOf(reports: readonly Report[], training: boolean): Telemetry["miners"] {
  return Array.from(
    Map.groupBy(reports, ({ minerId }) => minerId),
    ([minerId, places]) => ({
      minerId,
      tokensPerSecond: training ? sum(places.map((one) => one.tokensPerSecond)) : 0,
      microbatchesInFlight: training ? sum(places.map((one) => one.microbatchesInFlight)) : 0,
      memoryBytes: sum(places.map((one) => one.memoryBytes)),
    }),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
