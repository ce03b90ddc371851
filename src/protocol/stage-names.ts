const list = new Intl.ListFormat("en");

/** "stage 1", "stages 1 and 2": people count from 1. `stages`: from 0, at least one. */
export function stageNames(stages: readonly number[]): string {
  return `${stages.length === 1 ? "stage" : "stages"} ${list.format(stages.map((stage) => String(stage + 1)))}`;
}
