/** Which log entries are shown. Pure. */
import type { LogLine } from "../../../protocol/machine-view.ts";

export type Level = LogLine["level"];

/** A line of either log: the run's has no source. */
export interface Entry {
  readonly sequence: number;
  readonly atMs: number;
  readonly level: Level;
  readonly source?: string;
  readonly text: string;
}

const order: readonly Level[] = ["debug", "info", "warning", "error"];

export interface Filtered {
  /** Newest first, at most `limit`. */
  readonly shown: readonly Entry[];
  readonly matching: number;
}

/** Entries of at least that level which contain every word of the search, in any order and case. */
export function filterLog(entries: readonly Entry[], least: Level, search: string, limit: number): Filtered {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const from = order.indexOf(least);
  const shown: Entry[] = [];
  let matching = 0;
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = entries[index];
    if (!entry || order.indexOf(entry.level) < from) continue;
    const text = `${entry.source ?? ""} ${entry.text}`.toLowerCase();
    if (!words.every((word) => text.includes(word))) continue;
    matching++;
    if (shown.length < limit) shown.push(entry);
  }
  return { shown, matching };
}
