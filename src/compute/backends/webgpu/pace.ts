/**
 * How much work a submit may hold: learned from how long earlier ones took, program by program, since no formula knows
 * what a program costs on every GPU. The clock is passed in.
 */

/** Operations by program, of one submit. */
export type SubmitWork = ReadonlyMap<string, number>;

/** Systems stop a GPU that does not answer; some after as little as 100 ms, and the screen is drawn by it too. */
export const targetSubmitMs = 20;
/** Below this, a submit's time says more about the way to the GPU than about its work. */
const tellingMs = 5;
/** What shows right after a wait began, or after another submit's end, had been over for longer than can be known. */
const promptMs = 0.5;
/**
 * The part of a surprise that one submit teaches. An end that is seen late makes its submit seem long and the next one short:
 * on a busy processor that happens often, and submits that are too short cost little, while too long ones stop the screen.
 */
const gains = { slower: 0.5, faster: 0.2 };
/** How many times as long as a matrix product of its operations a program is thought to take before it has been timed. */
const untimedSlowness = 1.5;
/** The largest surprise that is believed: it may have been another program's. */
const largestSurprise = 8;

export class Pace {
  readonly #nowMs: () => number;
  /** What a matrix product takes. */
  #operationsPerMs: number;
  /** How many times as long as expected from its operations a program takes. */
  readonly #slowness = new Map<string, number>();
  /** Handed to the device, and not known to have ended. */
  #outstanding = 0;
  /** Since when the host does nothing but wait for the device: only then is the end of a submit seen when it comes. */
  #waitingSinceMs: number | null = null;
  /** When the device began with the oldest outstanding submit, where that was seen. */
  #beganMs: number | null = null;

  constructor(operationsPerMs: number, nowMs: () => number) {
    this.#operationsPerMs = operationsPerMs;
    this.#nowMs = nowMs;
  }

  /** Says what a matrix product takes, and so what everything else may take: nothing else is known from then on. */
  setRate(operationsPerMs: number): void {
    this.#operationsPerMs = operationsPerMs;
    this.#slowness.clear();
  }

  /** How long so many operations of a program will take. */
  predictMs(program: string, operations: number): number {
    return (this.#slownessOf(program) * operations) / this.#operationsPerMs;
  }

  #slownessOf(program: string): number {
    return this.#slowness.get(program) ?? untimedSlowness;
  }

  /** To be called when work is handed to the device. Returns what to call when it has ended. */
  submitted(work: SubmitWork): () => void {
    this.#waitingSinceMs = null;
    this.#beganMs = null;
    this.#outstanding++;
    return () => this.#ended(work);
  }

  /** To be called when nothing will be handed over until the device has ended its work. */
  waits(): void {
    const nowMs = this.#nowMs();
    this.#waitingSinceMs = nowMs;
    if (this.#outstanding === 1) this.#beganMs = nowMs;
  }

  #ended(work: SubmitWork): void {
    this.#outstanding--;
    if (this.#waitingSinceMs === null) return;
    const nowMs = this.#nowMs();
    if (this.#beganMs !== null) this.#learn(work, nowMs - this.#beganMs);
    const isPrompt = nowMs - (this.#beganMs ?? this.#waitingSinceMs) > promptMs;
    // The next one begins where this one ended, unless this one had ended before it was looked for.
    this.#waitingSinceMs = nowMs;
    this.#beganMs = isPrompt ? nowMs : null;
  }

  #learn(work: SubmitWork, tookMs: number): void {
    // By what is known now: the same surprise teaches once, and not once per submit that was on its way already.
    const expected = [...work].map(([program, operations]) => [program, this.predictMs(program, operations)] as const);
    const predictedMs = expected.reduce((sum, [, ms]) => sum + ms, 0);
    if (Math.max(tookMs, predictedMs) < tellingMs) return;
    const surprise = Math.min(largestSurprise, Math.max(1 / largestSurprise, tookMs / predictedMs));
    const gain = surprise > 1 ? gains.slower : gains.faster;
    // What was expected to take most of the time is believed to be most of the surprise.
    for (const [program, ms] of expected)
      this.#slowness.set(program, this.#slownessOf(program) * surprise ** ((gain * ms) / predictedMs));
  }
}
