/** What the dashboard knows, and how an event changes it. Pure; `store.ts` holds the one instance. */
import { type AppView, applyApiEvent } from "../../protocol/app-view.ts";
import type { ApiEvent } from "../../protocol/local-api.ts";
import type { AppState } from "../../protocol/machine-view.ts";
import type { Connection } from "../api/dashboard-api.ts";

/** One point of the training loss within the epoch that is not finished yet. */
export interface LivePoint {
  readonly tokens: number;
  readonly atMs: number;
  readonly lossNats: number;
}

export interface Dashboard {
  readonly connection: Connection;
  /** Null until the first snapshot. */
  readonly view: AppView | null;
  readonly liveLoss: readonly LivePoint[];
}

export const emptyDashboard: Dashboard = { connection: { kind: "connecting" }, view: null, liveLoss: [] };

const liveLimit = 2_000;

/** What comes out of step is left out; the client behind it fetches everything anew. */
export function applyEvent(dashboard: Dashboard, event: ApiEvent): Dashboard {
  const view = applyApiEvent(dashboard.view, event);
  if (!view) return dashboard;
  const sameEpoch = view.lists.epochs === dashboard.view?.lists.epochs;
  const liveLoss = sameEpoch ? dashboard.liveLoss : [];
  const point = view.state.telemetry === dashboard.view?.state.telemetry ? null : livePoint(view.state);
  const last = liveLoss.at(-1);
  const grown = point && (!last || point.tokens > last.tokens) ? [...liveLoss, point].slice(-liveLimit) : liveLoss;
  return { ...dashboard, view, liveLoss: grown };
}

function livePoint(state: AppState): LivePoint | null {
  const { run, telemetry } = state;
  if (!run || !telemetry || telemetry.trainLossNats === null) return null;
  // The mean over an epoch's first few microbatches says more about them than about the model.
  if (telemetry.microbatchesDone < telemetry.microbatchesPlanned / 8) return null;
  const tokens = trainedTokens(state);
  return tokens > run.tokens ? { tokens, atMs: telemetry.atMs, lossNats: telemetry.trainLossNats } : null;
}

/**
 * Tokens trained so far with those of the epoch in progress, which count once it is merged. Telemetry that is older than
 * the training phase tells of the epoch before.
 */
export function trainedTokens({ run, telemetry }: Pick<AppState, "run" | "telemetry">): number {
  if (!run) return 0;
  const inProgress = run.phase === "training" || run.phase === "uploading" || run.phase === "merging";
  const fresh = telemetry !== null && (run.phase !== "training" || telemetry.atMs >= run.phaseSinceMs);
  return run.tokens + (inProgress && fresh ? telemetry.microbatchesDone * run.microbatchTokens : 0);
}
