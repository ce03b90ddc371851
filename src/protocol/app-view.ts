/**
 * How the events of the local API add up to what a dashboard shows. The daemon and all its clients fold them with this one
 * function. Imports types only, so that the dashboard's bundle stays free of schemas.
 */
import type { ApiEvent } from "./local-api.ts";
import type { AppLists, AppState } from "./machine-view.ts";

export interface AppView {
  readonly version: number;
  readonly state: AppState;
  readonly lists: AppLists;
}

/** What one delta changes. */
export interface AppChange {
  readonly set: Partial<AppState>;
  readonly append: Partial<AppLists>;
  readonly reset?: boolean | undefined;
}

/** The newest entries that are kept of each list; a snapshot with all of them stays under about 8 MB. */
export const listLimits = { epochs: 20_000, evaluations: 5_000, runLog: 2_000, log: 2_000 } as const satisfies Record<
  keyof AppLists,
  number
>;

export const emptyLists: AppLists = { epochs: [], evaluations: [], runLog: [], log: [] };

/** The view after `event`; null when a delta is missing in between, or came before the first snapshot: connect again. */
export function applyApiEvent(view: AppView | null, event: ApiEvent): AppView | null {
  if (event.event === "snapshot") return { version: event.version, state: event.state, lists: event.lists };
  if (view === null || event.version !== view.version + 1) return null;
  return { version: event.version, ...applyChange(view, event) };
}

export function applyChange(view: Omit<AppView, "version">, change: AppChange): Omit<AppView, "version"> {
  const { append, reset = false } = change;
  return {
    state: { ...view.state, ...change.set },
    lists: extendLists(reset ? { ...emptyLists, log: view.lists.log } : view.lists, append),
  };
}

export function extendLists(lists: AppLists, append: Partial<AppLists>): AppLists {
  return {
    epochs: extend(lists.epochs, append.epochs, listLimits.epochs),
    evaluations: extend(lists.evaluations, append.evaluations, listLimits.evaluations),
    runLog: extend(lists.runLog, append.runLog, listLimits.runLog),
    log: extend(lists.log, append.log, listLimits.log),
  };
}

/** Lists that got nothing stay the same object, so that a user interface can tell. */
function extend<T>(list: readonly T[], more: readonly T[] | undefined, limit: number): readonly T[] {
  return more === undefined || more.length === 0 ? list : [...list, ...more].slice(-limit);
}
