/** What the demo reports about the run, gathered from the views that its daemon sends: values in, values out. */
import type { AppView } from "../../protocol/app-view.ts";
import type { EpochRecord, Evaluation, RunView } from "../../protocol/run-view.ts";

export interface RunRecord {
  readonly run: RunView;
  readonly epochs: readonly EpochRecord[];
  readonly evaluations: readonly Evaluation[];
  /** When training was first seen, and how far the run was then; null before. */
  readonly since: { readonly atMs: number; readonly tokens: number } | null;
}

/**
 * The record after `view`. It stays with the run that it began with, whatever else this computer is given to do. Lists never
 * shrink: a daemon that was just started again has not heard of the run yet.
 */
export function extendRecord(record: RunRecord | undefined, view: AppView, nowMs: number): RunRecord | undefined {
  const { run } = view.state;
  if (run === null || (record !== undefined && record.run.runId !== run.runId)) return record;
  const { epochs, evaluations } = view.lists;
  const started = run.phase !== "waiting" && run.phase !== "preparing" && run.phase !== "paused";
  return {
    run,
    epochs: longer(record?.epochs, epochs),
    evaluations: longer(record?.evaluations, evaluations),
    since:
      record?.since ??
      (started ? { atMs: run.phase === "training" ? run.phaseSinceMs : nowMs, tokens: run.tokens } : null),
  };
}

/** Whether the last checkpoint has been evaluated. It never will be where the whole model does not fit into memory. */
export function isEvaluated({ run, evaluations }: RunRecord): boolean {
  return evaluations.at(-1)?.tokens === run.tokens;
}

/** Tokens trained and seconds passed since training was first seen, up to the last merge. */
export function pace({ run, epochs, since }: RunRecord): { tokens: number; seconds: number; tokensPerSecond: number } {
  const endMs = epochs.at(-1)?.finishedAtMs;
  if (since === null || endMs === undefined || endMs <= since.atMs)
    return { tokens: 0, seconds: 0, tokensPerSecond: 0 };
  const tokens = run.tokens - since.tokens;
  const seconds = (endMs - since.atMs) / 1000;
  return { tokens, seconds, tokensPerSecond: tokens / seconds };
}

function longer<T>(known: readonly T[] | undefined, heard: readonly T[]): readonly T[] {
  return known && known.length > heard.length ? known : heard;
}
