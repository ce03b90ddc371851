/**
 * What a stage holds of each source's current step. A source has at most microbatchesPerStep of them, each comes once, and
 * what did not come back by the step's end is abandoned, so what a stage holds is bounded whatever the sources do.
 */
import type { MinerId } from "../../protocol/ids.ts";
import type { MicrobatchMessage } from "../../protocol/microbatch.ts";

export interface Held {
  readonly microbatch: number;
  readonly path: readonly MinerId[];
  /** Set when the activations were sent on: a gradient cannot come earlier. */
  forwarded: boolean;
}

interface SourceStep {
  readonly step: number;
  readonly seen: Set<number>;
  readonly held: Map<number, Held>;
}

export class HeldMicrobatches {
  readonly #sources = new Map<MinerId, SourceStep>();
  /** The steps that are over, by source. */
  readonly #flushed = new Set<string>();
  readonly #abandon: (microbatches: readonly Held[]) => void;

  /** `abandon` is told of what will never come back. */
  constructor(abandon: (microbatches: readonly Held[]) => void) {
    this.#abandon = abandon;
  }

  /** Takes a microbatch on; null when it came before or its step is over. */
  admit(message: MicrobatchMessage): Held | null {
    const source = this.#at(message);
    if (source === null || this.#isFlushed(message) || source.seen.has(message.microbatch)) return null;
    const held: Held = { microbatch: message.microbatch, path: message.path, forwarded: false };
    source.seen.add(message.microbatch);
    source.held.set(message.microbatch, held);
    return held;
  }

  /** Gives up what a gradient belongs to; null when nothing waits for it. */
  release({ microbatch, path, step }: MicrobatchMessage): Held | null {
    const source = this.#sources.get(sourceOf(path));
    const held = source?.held.get(microbatch);
    if (held === undefined || source?.step !== step || !held.forwarded) return null;
    if (!held.path.every((miner, stage) => miner === path[stage])) return null;
    source.held.delete(microbatch);
    return held;
  }

  /** Whether it still waits: false once it was abandoned. */
  isHeld(held: Held): boolean {
    return this.#sources.get(sourceOf(held.path))?.held.get(held.microbatch) === held;
  }

  /** Forgets one that this stage could not compute. */
  drop(held: Held): void {
    if (this.isHeld(held)) this.#sources.get(sourceOf(held.path))?.held.delete(held.microbatch);
  }

  /** The source's step is over, which may be heard after its next step began; false when that was known. */
  flush(message: MicrobatchMessage): boolean {
    if (this.#isFlushed(message)) return false;
    this.#flushed.add(stepKey(message));
    const source = this.#at(message);
    if (source !== null) this.#abandonAll(source);
    return true;
  }

  #isFlushed(message: MicrobatchMessage): boolean {
    return this.#flushed.has(stepKey(message));
  }

  /** The source's state at the message's step; null when the message is about an earlier one. */
  #at({ path, step }: MicrobatchMessage): SourceStep | null {
    const miner = sourceOf(path);
    const current = this.#sources.get(miner);
    if (current?.step === step) return current;
    if (current !== undefined && current.step > step) return null;
    // A newer step ends the one before, even if its flush marker was lost.
    if (current !== undefined) this.#abandonAll(current);
    const next: SourceStep = { step, seen: new Set(), held: new Map() };
    this.#sources.set(miner, next);
    return next;
  }

  #abandonAll(source: SourceStep): void {
    if (source.held.size > 0) this.#abandon([...source.held.values()]);
    source.held.clear();
  }
}

/** Names a step of one source. */
export function stepKey({ path, step }: MicrobatchMessage): string {
  return `${sourceOf(path)} ${step}`;
}

function sourceOf(path: readonly MinerId[]): MinerId {
  const [source] = path;
  if (source === undefined) throw new Error("a path without a source");
  return source;
}
