/** How long to wait before attempt `attempt` (0, 1, …): doubles from half a second to 15 s, with up to a quarter of jitter. */
export function retryDelayMs(attempt: number, random: number): number {
  const full = Math.min(15_000, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(full * (1 - random / 4));
}
