/**
 * How many bytes may pass in one direction: a token bucket (Turner 1986), shared by everything that sends, or receives, for this miner.
 * Bytes are spent when they go, or after they came, and may bring the balance below zero; while it is, nobody begins anything new.
 * In any time t at most `rate × t + capacity` passes, and once more the largest amount that was spent at once.
 */

/** Time as the budget uses it. */
export interface BudgetClock {
  nowMs(): number;
  after(delayMs: number, action: () => void): () => void;
}

/** `background` gives way: it gets a turn when nothing urgent waits, and every so often. */
export type Urgency = "urgent" | "background";

/** What may gather while nothing passes. Long enough to make up for a late timer on a busy computer. */
const capacityMs = 100;
const leastCapacityBytes = 64 << 10;
/** So many urgent turns, and then one of the background: what never moved would hold up the end of an epoch. */
const urgentTurnsInRow = 4;

export class ByteBudget {
  readonly #clock: BudgetClock;
  readonly #waiting: Readonly<Record<Urgency, (() => void)[]>> = { urgent: [], background: [] };
  /** Null: without limit. */
  #bytesPerSecond: number | null = null;
  #balance = 0;
  #atMs: number;
  #urgentTurns = 0;
  #cancelAlarm: (() => void) | null = null;

  constructor(clock: BudgetClock) {
    this.#clock = clock;
    this.#atMs = clock.nowMs();
  }

  get bytesPerSecond(): number | null {
    return this.#bytesPerSecond;
  }

  /** From now on. What was spent beyond the old rate is still to be made up for, at the new one. */
  setRate(bytesPerSecond: number | null): void {
    this.#refill();
    if (this.#bytesPerSecond === null) this.#balance = 0;
    this.#bytesPerSecond = bytesPerSecond;
    this.#refill();
    this.#cancelAlarm?.();
    this.#cancelAlarm = null;
    this.#wake();
  }

  /** Whether something may begin to pass. */
  get isOpen(): boolean {
    this.#refill();
    return this.#bytesPerSecond === null || this.#balance > 0;
  }

  spend(bytes: number): void {
    if (this.#bytesPerSecond === null) return;
    this.#refill();
    this.#balance -= bytes;
  }

  /** Calls `action` once, when it is its turn: it spends what it then passes, and asks again for more. Returns what calls it off. */
  whenOpen(urgency: Urgency, action: () => void): () => void {
    const queue = this.#waiting[urgency];
    queue.push(action);
    this.#setAlarm();
    return () => {
      const index = queue.indexOf(action);
      if (index >= 0) queue.splice(index, 1);
    };
  }

  /** Resolves when it is the caller's turn; at once, where nobody waits. */
  async turn(urgency: Urgency): Promise<void> {
    const nobodyWaits = this.#waiting.urgent.length + this.#waiting.background.length === 0;
    if (this.isOpen && nobodyWaits) return;
    await new Promise<void>((resolve) => this.whenOpen(urgency, resolve));
  }

  #refill(): void {
    const nowMs = this.#clock.nowMs();
    const rate = this.#bytesPerSecond;
    if (rate !== null) {
      const capacityBytes = Math.max(leastCapacityBytes, (rate * capacityMs) / 1000);
      this.#balance = Math.min(capacityBytes, this.#balance + ((nowMs - this.#atMs) / 1000) * rate);
    }
    this.#atMs = nowMs;
  }

  #setAlarm(): void {
    if (this.#cancelAlarm !== null || this.#next() === undefined) return;
    const missing = this.isOpen ? 0 : 1 - this.#balance;
    const delayMs = Math.ceil((missing / (this.#bytesPerSecond ?? 1)) * 1000);
    this.#cancelAlarm = this.#clock.after(delayMs, () => {
      this.#cancelAlarm = null;
      this.#wake();
    });
  }

  /** A turn at a time, as each may use up what there is. */
  #wake(): void {
    for (;;) {
      const urgency = this.#next();
      if (urgency === undefined || !this.isOpen) break;
      this.#urgentTurns = urgency === "urgent" ? this.#urgentTurns + 1 : 0;
      this.#waiting[urgency].shift()?.();
      if (this.#bytesPerSecond !== null) break;
    }
    this.#setAlarm();
  }

  #next(): Urgency | undefined {
    const { urgent, background } = this.#waiting;
    if (background.length > 0 && (urgent.length === 0 || this.#urgentTurns >= urgentTurnsInRow)) return "background";
    return urgent.length > 0 ? "urgent" : undefined;
  }
}
