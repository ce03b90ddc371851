/** Whether a run's log still says what it said: every entry unharmed, none missing, and a replay meets the snapshots. */
import { isDeepStrictEqual } from "node:util";
import type { RunId } from "../../protocol/ids.ts";
import { apply } from "../orchestrator/core/apply.ts";
import type { RunEvent } from "../orchestrator/core/event.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import { firstHarmed, isUnharmed } from "../store/log-entry.ts";
import type { LogEntry, StoredLog } from "../store/store.ts";
import { type Finding, findingOf } from "./finding.ts";

export interface LogAudit {
  /** The run's state at the log's end; null when it cannot be known. */
  readonly state: RunState | null;
  readonly findings: readonly Finding[];
}

const restore = "Restore the state folder from a backup, or begin anew in another one.";

export function auditLog(runId: RunId, { snapshots, events }: StoredLog): LogAudit {
  const usable = snapshots.filter(isUnharmed);
  const latest = usable.at(-1);
  const findings = findingOf(
    "log",
    snapshots.filter((snapshot) => !isUnharmed(snapshot)),
    ({ sequence }) => `${runId}: the snapshot at event ${sequence} is damaged`,
    latest === undefined ? restore : "Nothing: the next start goes on from the one before.",
  );
  if (latest === undefined) return { state: null, findings };

  const needed = events.filter(({ sequence }) => sequence > latest.sequence);
  const lost = firstHarmed(needed, latest.sequence);
  const older = firstHarmed(events, (events[0]?.sequence ?? latest.sequence + 1) - 1, latest.sequence);
  return {
    state:
      lost === null ? replay(latest.value, unharmedBetween(events, latest.sequence, Number.POSITIVE_INFINITY)) : null,
    findings: [
      ...findings,
      ...eventHarmed(runId, lost, restore),
      ...eventHarmed(runId, older, "Nothing: a later snapshot makes up for it; only the history has a gap."),
      ...mismatches(runId, usable, events),
    ],
  };
}

/** Each snapshot against the one before it and the events between them. */
function mismatches(
  runId: RunId,
  snapshots: readonly { readonly sequence: number; readonly value: RunState }[],
  events: readonly LogEntry<RunEvent>[],
): readonly Finding[] {
  const wrong = snapshots.slice(1).filter((snapshot, index) => {
    const earlier = snapshots[index];
    if (earlier === undefined) return false;
    const between = unharmedBetween(events, earlier.sequence, snapshot.sequence);
    // Where one is harmed, that was found already.
    if (between.length !== snapshot.sequence - earlier.sequence) return false;
    return !isDeepStrictEqual(asStored(replay(earlier.value, between)), snapshot.value);
  });
  return findingOf(
    "log",
    wrong,
    ({ sequence }) => `${runId}: a replay of the log does not lead to the snapshot at event ${sequence}`,
    "Report it as a bug, with the state folder; the run can go on.",
  );
}

function replay(snapshot: RunState, events: readonly RunEvent[]): RunState {
  return events.reduce((state, event) => apply(state, event).state, snapshot);
}

function unharmedBetween(events: readonly LogEntry<RunEvent>[], after: number, last: number): readonly RunEvent[] {
  return events
    .filter(({ sequence }) => sequence > after && sequence <= last)
    .filter(isUnharmed)
    .map(({ value }) => value);
}

/** As it would come back: without what JSON leaves out. */
function asStored(state: RunState): unknown {
  return JSON.parse(JSON.stringify(state));
}

function eventHarmed(runId: RunId, sequence: number | null, action: string): readonly Finding[] {
  const what = `${runId}: event ${sequence} is damaged or missing.`;
  return sequence === null ? [] : [{ part: "log", what, action }];
}
