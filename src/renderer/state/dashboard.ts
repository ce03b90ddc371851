/** What the dashboard knows, and how an event changes it. Pure; `store.ts` holds the one instance. */
import type { ApiEvent, AppLists, AppState } from "../../protocol/local-api.ts";
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
  readonly state: AppState | null;
  readonly lists: AppLists;
  readonly liveLoss: readonly LivePoint[];
}

const noLists: AppLists = { epochs: [], evaluations: [], runLog: [], log: [] };

export const emptyDashboard: Dashboard = {
  connection: { kind: "connecting" },
  state: null,
  lists: noLists,
  liveLoss: [],
};

/** What the page keeps of the logs, in entries; the daemon keeps the rest. */
const logLimit = 5_000;
const liveLimit = 2_000;

export function applyEvent(dashboard: Dashboard, event: ApiEvent): Dashboard {
  if (event.event === "snapshot")
    return withLiveLoss({ ...dashboard, state: event.state, lists: bounded(event.lists), liveLoss: [] });
  if (!dashboard.state) return dashboard;
  const reset = event.reset === true;
  const started = reset || (event.append.epochs?.length ?? 0) > 0;
  const next = {
    ...dashboard,
    state: { ...dashboard.state, ...event.set },
    lists: appended(dashboard.lists, event.append, reset),
    liveLoss: started ? [] : dashboard.liveLoss,
  };
  return event.set.telemetry ? withLiveLoss(next) : next;
}

/** A list that nothing is added to keeps its identity, so that what shows it does not render again. */
function appended(lists: AppLists, more: Partial<AppLists>, reset: boolean): AppLists {
  const grown = <T>(list: readonly T[], added: readonly T[] | undefined): readonly T[] => {
    if (!added) return list;
    if (reset) return added;
    return added.length === 0 ? list : [...list, ...added];
  };
  return bounded({
    epochs: grown(lists.epochs, more.epochs),
    evaluations: grown(lists.evaluations, more.evaluations),
    runLog: grown(lists.runLog, more.runLog),
    log: grown(lists.log, more.log),
  });
}

function bounded(lists: AppLists): AppLists {
  const { runLog, log } = lists;
  if (runLog.length <= logLimit && log.length <= logLimit) return lists;
  return { ...lists, runLog: runLog.slice(-logLimit), log: log.slice(-logLimit) };
}

function withLiveLoss(dashboard: Dashboard): Dashboard {
  const { run, telemetry } = dashboard.state ?? {};
  if (!run || !telemetry || telemetry.trainLossNats === null) return dashboard;
  const last = dashboard.liveLoss.at(-1);
  if (last && run.tokens <= last.tokens) return dashboard;
  const point = { tokens: run.tokens, atMs: telemetry.atMs, lossNats: telemetry.trainLossNats };
  return { ...dashboard, liveLoss: [...dashboard.liveLoss, point].slice(-liveLimit) };
}
