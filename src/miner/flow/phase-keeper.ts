/** Keeps a replica in one phase at a time. Entering a phase calls off everything that the one before had under way. */
import type { Phase } from "./phase.ts";

export interface PhaseListener {
  /** The replica is in another phase. */
  entered(phase: Phase): void;
  /** A phase's work went wrong while the phase lasted. */
  failed(error: unknown): void;
}

export class PhaseKeeper {
  readonly #listener: PhaseListener;
  #phase: Phase;
  /** Aborted when the phase ends. */
  #current = new AbortController();
  #changed = Promise.withResolvers<void>();

  constructor(first: Phase, listener: PhaseListener) {
    this.#phase = first;
    this.#listener = listener;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** The signal is aborted when the phase ends. */
  enter(phase: Phase): AbortSignal {
    return this.enterWith(() => ({ phase, entered: null })).signal;
  }

  /** As `enter`, for a phase made of something that needs the phase's own signal. */
  enterWith<T>(make: (signal: AbortSignal) => { phase: Phase; entered: T }): { signal: AbortSignal; entered: T } {
    this.#current.abort();
    this.#current = new AbortController();
    const { signal } = this.#current;
    const { phase, entered } = make(signal);
    this.#phase = phase;
    this.#listener.entered(phase);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    return { signal, entered };
  }

  /** Does a phase's work; what goes wrong after the phase is over does not matter. */
  work(signal: AbortSignal, work: () => Promise<void>): void {
    work().catch((error) => {
      if (!signal.aborted) this.#listener.failed(error);
    });
  }

  /** Waits until the phase is another one. */
  async changed(): Promise<void> {
    await this.#changed.promise;
  }
}
