/**
 * The state that all clients of the daemon see, and the versioned deltas that keep them up to date. Changes that people wait
 * for go out at once; the rest is gathered and goes out at most four times a second.
 */
import { isDeepStrictEqual } from "node:util";
import { type AppChange, type AppView, applyChange, emptyLists } from "../../protocol/app-view.ts";
import type { ApiEvent } from "../../protocol/local-api.ts";
import type { AppState } from "../../protocol/machine-view.ts";
import { mergeChanges, type StateChange } from "./app-state.ts";

const batchMs = 250;

export interface Feed {
  readonly view: AppView;
  apply(change: StateChange): void;
  /** Delivers a snapshot at once and then every delta; returns the unsubscribe function. */
  subscribe(listener: (event: ApiEvent) => void): () => void;
  close(): void;
}

export function createFeed(state: AppState): Feed {
  let view: AppView = { version: 0, state, lists: emptyLists };
  let pending: AppChange | undefined;
  let timer: NodeJS.Timeout | undefined;
  const listeners = new Set<(event: ApiEvent) => void>();

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (pending === undefined) return;
    const { set, append, reset } = pending;
    pending = undefined;
    view = { ...view, version: view.version + 1 };
    const delta: ApiEvent = { event: "delta", version: view.version, set, append, ...(reset && { reset }) };
    for (const listener of listeners) listener(delta);
  }

  return {
    get view() {
      return view;
    },
    apply({ urgent, ...offered }) {
      const change = { ...offered, set: onlyNew(view.state, offered.set) };
      if (changesNothing(change)) return;
      view = { version: view.version, ...applyChange(view, change) };
      pending = pending === undefined ? change : mergeChanges(pending, change);
      if (urgent) flush();
      else timer ??= setTimeout(flush, batchMs);
    },
    subscribe(listener) {
      flush(); // what is pending is in the snapshot already
      listeners.add(listener);
      listener({ event: "snapshot", ...view });
      return () => listeners.delete(listener);
    },
    close() {
      clearTimeout(timer);
      listeners.clear();
    },
  };
}

/** What is polled is mostly what it was. */
function onlyNew(state: AppState, set: Partial<AppState>): Partial<AppState> {
  const isNew = ([key, value]: [string, unknown]) => !isDeepStrictEqual(value, state[key as keyof AppState]);
  return Object.fromEntries(Object.entries(set).filter(isNew));
}

function changesNothing({ set, append, reset }: AppChange): boolean {
  return !reset && Object.keys(set).length === 0 && Object.values(append).every((list) => list.length === 0);
}
