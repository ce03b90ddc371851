/** When a replica behind the first stage steps: when every source that lives has said that its step is over. */
import type { MinerId } from "../../protocol/ids.ts";
import type { Routes } from "./routes.ts";

export class StepGate {
  readonly #routes: Routes;
  readonly #steps: number;
  /** The newest step that each source has flushed: it implies those before. */
  readonly #flushed = new Map<MinerId, number>();

  /** `steps`: that the epoch has. */
  constructor(routes: Routes, steps: number) {
    this.#routes = routes;
    this.#steps = steps;
  }

  flush(source: MinerId, step: number): void {
    this.#flushed.set(source, Math.max(step, this.#flushed.get(source) ?? step));
  }

  /** A source that was lost is not waited for; one that may be back at once is. */
  isOver(step: number): boolean {
    const sources = this.#routes.sources.filter((source) => this.#routes.standing(source, 0) !== "gone");
    return (
      step < this.#steps && sources.length > 0 && sources.every((source) => (this.#flushed.get(source) ?? -1) >= step)
    );
  }
}
