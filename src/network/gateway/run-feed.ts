/** What has been told of a run so far, and hence what is new: the whole view, and the tails of its growing lists. */
import type { RunUpdate } from "../../protocol/run-view.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import { viewOf } from "../orchestrator/core/view.ts";

/** Everything, for a session that has just opened. */
export function wholeRun(state: RunState): RunUpdate {
  const { definition, epochs, evaluations, log } = state;
  return { runId: definition.runId, view: viewOf(state), epochs, evaluations, log };
}

/** What came between two states; null when nothing did. */
export function runChanges(before: RunState, after: RunState): RunUpdate | null {
  if (before === after) return null;
  return {
    runId: after.definition.runId,
    view: viewOf(after),
    ...list("epochs", newerThan(before.epochs.at(-1), after.epochs)),
    ...list("evaluations", newerThan(before.evaluations.at(-1), after.evaluations)),
    ...list(
      "log",
      after.log.filter((entry) => entry.sequence >= before.nextLogSequence),
    ),
  };
}

function list<K extends string, T>(key: K, items: readonly T[]): { readonly [P in K]?: readonly T[] } {
  return items.length === 0 ? {} : ({ [key]: items } as { readonly [P in K]: readonly T[] });
}

/** Told by their epochs: a history may lose old entries while it gains new ones. */
function newerThan<T extends { readonly epoch: number }>(last: T | undefined, entries: readonly T[]): readonly T[] {
  return last === undefined ? entries : entries.filter((entry) => entry.epoch > last.epoch);
}
