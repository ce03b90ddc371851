/** Gathers what miners say about their progress, and sums it up twice a second. It touches neither the core nor the log. */
import { type MinerId, sameEpoch } from "../../protocol/ids.ts";
import type { ClientMessage } from "../../protocol/messages.ts";
import type { Telemetry } from "../../protocol/run-view.ts";
import { microbatchesPerSource } from "../orchestrator/core/definition.ts";
import { currentEpoch, type RunState, rosterMembers } from "../orchestrator/core/state.ts";
import type { Flow } from "./relay.ts";

type Progress = Extract<ClientMessage, { type: "progress" }>;

export class TelemetryDesk {
  readonly #latest = new Map<MinerId, Progress>();

  record(minerId: MinerId, progress: Progress): void {
    this.#latest.set(minerId, progress);
  }

  forget(minerId: MinerId): void {
    this.#latest.delete(minerId);
  }

  /** What is known of the current epoch attempt; reports about another one do not count. */
  sum(state: RunState, flows: readonly Flow[], atMs: number): Telemetry {
    const at = currentEpoch(state);
    const training = state.phase.name === "training";
    const reports = rosterMembers(state).flatMap((minerId) => {
      const report = this.#latest.get(minerId);
      return report !== undefined && sameEpoch(report.at, at) ? [{ minerId, report }] : [];
    });
    const sources = state.roster.stages[0] ?? [];
    const lastStage = state.roster.stages.at(-1) ?? [];
    const fromSources = reports.filter(({ minerId }) => sources.includes(minerId));
    const measured = reports.filter(
      ({ minerId, report }) => lastStage.includes(minerId) && report.lossSumNats !== null && report.tokensBackward > 0,
    );
    const tokens = sum(measured.map(({ report }) => report.tokensBackward));
    return {
      atMs,
      microbatchesDone: sum(fromSources.map(({ report }) => report.microbatchesDone)),
      microbatchesPlanned: sources.length * microbatchesPerSource(state.definition),
      trainLossNats: tokens === 0 ? null : sum(measured.map(({ report }) => report.lossSumNats ?? 0)) / tokens,
      miners: reports.map(({ minerId, report }) => ({
        minerId,
        tokensPerSecond: training ? report.tokensPerSecond : 0,
        microbatchesInFlight: training ? report.microbatchesInFlight : 0,
        memoryBytes: report.memoryBytes,
      })),
      flows,
    };
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
