/**
 * All runs of the network, as far as they have been told. One of them is shown: the one that this machine works for or, while
 * it works for none, the one that was shown last. What becomes of it is a change of the state that people see.
 */
import { emptyLists, extendLists } from "../../protocol/app-view.ts";
import { assertNever } from "../../protocol/assert-never.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { RunId } from "../../protocol/ids.ts";
import type { AppLists } from "../../protocol/machine-view.ts";
import type { RunDetails, RunSummary, RunUpdate, RunView, Telemetry } from "../../protocol/run-view.ts";
import type { MinerEvent } from "../miner.ts";
import type { StateChange } from "./app-state.ts";

export type RunEvent = Extract<MinerEvent, { type: "runs" | "run-update" | "run-reset" | "assigned" }>;

interface KnownRun {
  readonly view: RunView;
  readonly telemetry: Telemetry | null;
  readonly lists: AppLists;
}

const nothing: StateChange = { urgent: false, set: {}, append: {} };

export class KnownRuns {
  readonly #known = new Map<RunId, KnownRun>();
  #listed: readonly RunSummary[] = [];
  #assigned: RunId | null = null;
  /** What clients have been told of; null: of none since the session was opened. */
  #shown: RunId | null = null;
  #shownBefore: RunId | null = null;

  /** Throws `FailureError` (not-found). */
  details(runId: RunId): RunDetails {
    const known = this.#known.get(runId);
    if (known === undefined)
      throw new FailureError("not-found", `There is no run ${runId} here.`, {
        action: "tah run list shows which runs there are.",
        retry: true,
      });
    const { epochs, evaluations, runLog: log } = known.lists;
    return { run: known.view, epochs, evaluations, log };
  }

  take(event: RunEvent): StateChange {
    switch (event.type) {
      case "run-reset":
        return this.#reset();
      case "assigned":
        this.#assigned = event.runId;
        return this.#show();
      case "runs":
        return this.#list(event.runs);
      case "run-update":
        return this.#update(event.update);
      default:
        return assertNever(event);
    }
  }

  #reset(): StateChange {
    this.#known.clear();
    this.#assigned = null;
    this.#shownBefore = this.#shown ?? this.#shownBefore;
    this.#shown = null;
    return { ...nothing, reset: true };
  }

  #list(runs: readonly RunSummary[]): StateChange {
    this.#listed = runs;
    for (const runId of this.#known.keys()) if (!this.#isListed(runId)) this.#known.delete(runId);
    const change = this.#show();
    return { ...change, set: { ...change.set, runs } };
  }

  #update(update: RunUpdate): StateChange {
    const { runId, telemetry, epochs, evaluations, log: runLog } = update;
    const before = this.#known.get(runId);
    const view = update.view ?? before?.view;
    // Only a whole view can introduce a run; anything else about one that is not known says nothing.
    if (view === undefined) return nothing;
    const append = {
      ...(epochs !== undefined && { epochs }),
      ...(evaluations !== undefined && { evaluations }),
      ...(runLog !== undefined && { runLog }),
    };
    this.#known.set(runId, {
      view,
      telemetry: telemetry ?? before?.telemetry ?? null,
      lists: extendLists(before?.lists ?? emptyLists, append),
    });
    if (runId !== this.#shown) return this.#show();
    return {
      urgent: update.view !== undefined || epochs !== undefined || evaluations !== undefined,
      set: { ...(update.view !== undefined && { run: view }), ...(telemetry !== undefined && { telemetry }) },
      append,
    };
  }

  /** Chooses the run to show; another one than before is told from its beginning. */
  #show(): StateChange {
    const [first = null] = [...this.#listed.map(({ runId }) => runId), ...this.#known.keys()];
    const candidates = [this.#assigned, this.#shown, this.#shownBefore, first];
    const chosen = candidates.find((runId) => runId !== null && (this.#isListed(runId) || this.#known.has(runId)));
    const isGone = chosen == null && (this.#shown ?? this.#shownBefore) !== null;
    const known = chosen == null ? undefined : this.#known.get(chosen);
    // One that is not known yet follows in a moment.
    if (chosen === this.#shown || (known === undefined && !isGone)) return nothing;
    this.#shown = chosen ?? null;
    this.#shownBefore = null;
    const { epochs, evaluations, runLog } = known?.lists ?? emptyLists;
    return {
      urgent: true,
      reset: true,
      set: { run: known?.view ?? null, telemetry: known?.telemetry ?? null },
      append: { epochs, evaluations, runLog },
    };
  }

  #isListed(id: RunId): boolean {
    return this.#listed.some(({ runId }) => runId === id);
  }
}
