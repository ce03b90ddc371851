/**
 * What a replica behind the first stage holds of the steps that are not over: each microbatch once, however often it comes. It is
 * bounded, whatever the others do; what belongs to a later step has room of its own, so that it cannot keep out what the current
 * step waits for.
 */
import type { Verdict } from "../../protocol/answer.ts";
import type { Received } from "./inbound.ts";
import type { Returned } from "./onward.ts";

export interface Held {
  /** With the path that it took last: the gradient goes back along that one. */
  message: Received;
  /** `done`: `returned` is kept, for whoever asks again. `lost`: it will never be done. */
  state: "waiting" | "inside" | "done" | "lost";
  /** What goes back to the stage before. */
  returned: Returned | null;
}

/** The activations have been computed with, and take no more memory from here on. */
export function releaseInput(held: Held): void {
  held.message = { ...held.message, payload: new Uint8Array(0) };
}

export interface Admission {
  readonly verdict: Verdict;
  readonly held: Held | null;
}

export class HeldMicrobatches {
  readonly #room: number;
  readonly #held = new Map<number, Held>();
  /** The first step that is not over, and the last one whose microbatches may be computed. */
  #firstStep = 0;
  #lastStep: number;
  #isClosed = false;

  /** `ahead`: by how many steps microbatches may be ahead of the replica and still be computed. */
  constructor(room: number, ahead: number) {
    this.#room = room;
    this.#lastStep = ahead;
  }

  /** Takes a microbatch in, or finds the one that came before. */
  admit(message: Received): Admission {
    if (message.step < this.#firstStep) return { verdict: "stale", held: null };
    const known = this.#held.get(message.microbatch);
    if (known !== undefined) {
      known.message = { ...known.message, path: message.path };
      return { verdict: known.state === "lost" ? "lost" : "accepted", held: known };
    }
    if (this.#isClosed || this.#isFull(message.step)) return { verdict: "full", held: null };
    const held: Held = { message, state: "waiting", returned: null };
    this.#held.set(message.microbatch, held);
    return { verdict: "accepted", held };
  }

  /** Those that may be computed now, and for which there is room; they are `inside` from here on. */
  takeDue(): readonly Held[] {
    const all = [...this.#held.values()];
    const inside = all.filter(({ state }) => state === "inside").length;
    const due = all
      .filter(({ state, message }) => state === "waiting" && message.step <= this.#lastStep)
      .toSorted((a, b) => a.message.step - b.message.step)
      .slice(0, Math.max(0, this.#room - inside));
    for (const held of due) held.state = "inside";
    return due;
  }

  /** Whether its step is not over yet. */
  isHeld(held: Held): boolean {
    return this.#held.get(held.message.microbatch) === held;
  }

  /** The first step is over: what belongs to it is forgotten, and returned as far as it was not done. */
  endStep(): readonly Held[] {
    this.#firstStep += 1;
    this.#lastStep += 1;
    const over = [...this.#held.values()].filter(({ message }) => message.step < this.#firstStep);
    for (const { message } of over) this.#held.delete(message.microbatch);
    return over.filter(({ state }) => state === "waiting" || state === "inside");
  }

  /** Takes nothing in from here on that it does not have. */
  close(): void {
    this.#isClosed = true;
  }

  #isFull(step: number): boolean {
    const isAhead = step > this.#lastStep;
    const alike = [...this.#held.values()].filter(
      ({ state, message }) => (state === "waiting" || state === "inside") && message.step > this.#lastStep === isAhead,
    );
    return alike.length >= this.#room;
  }
}
