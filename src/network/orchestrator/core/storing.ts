/** Before a run rests: what it merged last goes into the blob store, and nothing else happens. */
import type { Next } from "./next.ts";
import { fallBackIfLost, isRecorded } from "./start.ts";
import type { RunState } from "./state.ts";
import type { Turn } from "./turn.ts";

/** `keeping.ts` does the work, at full speed now. */
export function beginStoring(turn: Turn): void {
  turn.enter({ name: "storing", deadlineMs: null });
}

export function advanceStoring(state: RunState): Next | null {
  if (state.intent === "run") return { to: "resume" };
  return isRecorded(state) ? { to: "rest" } : fallBackIfLost(state);
}
