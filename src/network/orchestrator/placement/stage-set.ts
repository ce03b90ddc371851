/** Sets of stages as bits of a small integer: what the search compares and changes thousands of times. */

/** A set holds so many stages at most: one bit each, below the sign. */
export const mostStages = 30;

export type StageSet = number;

export function stageSet(stages: readonly number[]): StageSet {
  return stages.reduce((set, stage) => set | (1 << stage), 0);
}

export function hasStage(set: StageSet, stage: number): boolean {
  return (set & (1 << stage)) !== 0;
}

/** Ascending. */
export function stagesOf(set: StageSet): number[] {
  const stages: number[] = [];
  for (let rest = set; rest !== 0; rest &= rest - 1) stages.push(firstStage(rest));
  return stages;
}

/** The first stage of a set that is not empty. `set & (set - 1)` is the rest. */
export function firstStage(set: StageSet): number {
  return 31 - Math.clz32(set & -set);
}

/** Whether it is more than one stage. */
export function isSeveral(set: StageSet): boolean {
  return (set & (set - 1)) !== 0;
}

export function countStages(set: StageSet): number {
  let count = 0;
  for (let rest = set; rest !== 0; rest &= rest - 1) count++;
  return count;
}
