/** What the miners say that they train, as it leaves them: which part of it flows, and how much there is to merge. */

import type { ClientMessage } from "../../../src/protocol/client-messages.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";

export type Progress = Extract<ClientMessage, { type: "progress" }>;

/** Microbatches came back to a source, through all stages. */
export interface Flow {
  readonly atMs: number;
  readonly microbatches: number;
}

interface Share {
  readonly stage: number;
  readonly epoch: number;
  tokens: number;
  microbatches: number;
}

export class WorkBook {
  readonly flow: Flow[] = [];
  /** By replica and attempt at an epoch. */
  readonly #shares = new Map<string, Share>();

  record(minerId: MinerId, { at, tokensBackward, microbatchesDone }: Progress, atMs: number): void {
    const { epoch, attempt, stage } = at;
    const key = `${minerId} ${stage} ${epoch} ${attempt}`;
    const share = this.#shares.get(key) ?? { stage, epoch, tokens: 0, microbatches: 0 };
    this.#shares.set(key, share);
    if (stage === 0 && microbatchesDone > share.microbatches)
      this.flow.push({ atMs, microbatches: microbatchesDone - share.microbatches });
    // A replica that was started anew in the same attempt counts from zero again.
    share.microbatches = microbatchesDone;
    share.tokens = Math.max(share.tokens, tokensBackward);
  }

  /** Backward-passed by all replicas of each stage in these epochs, all attempts together. */
  trainedTokens(stages: number, isCounted: (epoch: number) => boolean): readonly number[] {
    const tokens = new Array<number>(stages).fill(0);
    for (const share of this.#shares.values())
      if (isCounted(share.epoch)) tokens[share.stage] = (tokens[share.stage] ?? 0) + share.tokens;
    return tokens;
  }
}

/** Over so long a rate is taken: miners report twice a second. */
const windowMs = 1000;
/** What is reported within it was in part done before. */
const reportIntervalMs = 500;

export interface FlowRate {
  readonly microbatchesPerSecond: number;
}

/**
 * Seconds from a fault until microbatches go through all stages again, at half of the undisturbed rate at least; null while
 * they do not. At least half a second is measured, the interval of reports.
 */
export function recoverySeconds(flow: readonly Flow[], faultAtMs: number, undisturbed: FlowRate): number | null {
  const needed = (undisturbed.microbatchesPerSecond / 2) * (windowMs / 1000);
  const after = flow.filter(({ atMs }) => atMs > faultAtMs + reportIntervalMs);
  for (const [index, { atMs: fromMs }] of after.entries()) {
    const within = after.slice(index).filter(({ atMs }) => atMs < fromMs + windowMs);
    const microbatches = within.reduce((sum, one) => sum + one.microbatches, 0);
    if (microbatches >= needed) return (fromMs - faultAtMs) / 1000;
  }
  return null;
}

/** Of what flowed between two instants. */
export function flowRate(flow: readonly Flow[], fromMs: number, toMs: number): FlowRate {
  const within = flow.filter(({ atMs }) => atMs > fromMs && atMs <= toMs);
  const microbatches = within.reduce((sum, one) => sum + one.microbatches, 0);
  return { microbatchesPerSecond: microbatches / ((toMs - fromMs) / 1000) };
}
