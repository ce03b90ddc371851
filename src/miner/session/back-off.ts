/** Pauses between attempts to connect: after 0, 0.5, 1, 2, 5, then every 10 s, each with jitter (`docs/protocol.md`). */
const pausesMs = [0, 500, 1000, 2000, 5000] as const;
const longestPauseMs = 10_000;

/** `attempt` counts the failures in a row, from 0; `random` lies in [0, 1). Up to a quarter more or less. */
export function backOffMs(attempt: number, random: number): number {
  const pauseMs = pausesMs[attempt] ?? longestPauseMs;
  return pauseMs * (0.75 + 0.5 * random);
}
