/** Time and chance as the miner uses them; tests bring their own. */
export interface Clock {
  nowMs(): number;
  /** Calls `action` once; the returned function calls it off. */
  after(delayMs: number, action: () => void): () => void;
  /** In [0, 1). */
  random(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after: (delayMs, action) => {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
