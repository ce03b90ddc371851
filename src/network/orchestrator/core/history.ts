/** A run's history, in bounded memory however long the run: recent entries are kept whole, older ones ever more thinly. */

/** Entries after which a history is thinned: a loss chart shows no more, and a snapshot of a full one stays under 4 MB. */
export const historyLimits = { epochs: 10_000, evaluations: 4_000 } as const;

/**
 * The history with one more entry. Whenever it grows past `limit`, every second entry of its older half goes, but never the first.
 * Repeated over months, an entry's chance of being kept falls with its age, and the course of the whole run stays visible.
 */
export function remember<T>(history: readonly T[], entry: T, limit: number): readonly T[] {
  const longer = [...history, entry];
  if (longer.length <= limit) return longer;
  const half = Math.ceil(longer.length / 2);
  return longer.filter((_, index) => index >= half || index % 2 === 0);
}
