/** Time and chance as the miner uses them; tests bring their own. */
export interface Clock {
  /** Counted from anywhere, and never backwards, whatever is done to the computer's clock. */
  nowMs(): number;
  /** Calls `action` once; the returned function calls it off. */
  after(delayMs: number, action: () => void): () => void;
  /** In [0, 1). */
  random(): number;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after: (delayMs, action) => {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
