/** How well the members cover the stages, before an epoch begins. */
import type { RunState } from "./state.ts";

/** Replicas of each stage and of the one that has fewest, and miners that have a place, among those whose session is open. */
export function coverage({ stages, members, away }: RunState): {
  readonly counts: readonly number[];
  readonly fewest: number;
  readonly present: number;
} {
  const absent = new Set(away.map(({ minerId }) => minerId));
  const present = members.filter((member) => member.stages.length > 0 && !absent.has(member.minerId));
  const counts = new Array<number>(stages.length).fill(0);
  for (const member of present) for (const stage of member.stages) counts[stage] = (counts[stage] ?? 0) + 1;
  return { counts, fewest: Math.min(...counts), present: present.length };
}
