/** What an audit finds wrong, for a person: what it is, and what to do about it. */
export interface Finding {
  readonly part: "log" | "ledger" | "receipts" | "blobs";
  readonly what: string;
  readonly action: string;
}

/** One finding for all `cases` of a kind, however many; none when there is none. `describe` speaks of the first. */
export function findingOf<T>(
  part: Finding["part"],
  cases: readonly T[],
  describe: (first: T) => string,
  action: string,
): readonly Finding[] {
  const [first] = cases;
  if (first === undefined) return [];
  const others = cases.length === 1 ? "" : ` (and ${cases.length - 1} more like it)`;
  return [{ part, what: `${describe(first)}${others}.`, action }];
}
