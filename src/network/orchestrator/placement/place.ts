/**
 * Which miner holds which stage, as pure functions of who is there. Moving a miner costs a download of its new stage, so
 * places are kept as long as they serve.
 */

/** Replicas per stage. */
export function countReplicas(stages: number, places: readonly { readonly stage: number }[]): number[] {
  const counts = new Array<number>(stages).fill(0);
  for (const { stage } of places) counts[stage] = (counts[stage] ?? 0) + 1;
  return counts;
}

/** The emptiest stage, first one on ties; the newcomer's former stage if none is emptier. */
export function placeNewcomer(
  stages: number,
  places: readonly { readonly stage: number }[],
  formerStage: number | undefined,
): number {
  const counts = countReplicas(stages, places);
  const fewest = Math.min(...counts);
  if (formerStage !== undefined && counts[formerStage] === fewest) return formerStage;
  return counts.indexOf(fewest);
}

/**
 * Moves as few members as it takes until no stage has two replicas fewer than another, latest arrivals first. Unreliable
 * members count for nothing here: a stage that has only such gets a reliable one from where there are two. Done between
 * epochs, when no work is in flight.
 */
export function rebalance<M extends { readonly stage: number; readonly unreliable: boolean }>(
  stages: number,
  members: readonly M[],
): readonly M[] {
  const balanced = [...members];
  for (;;) {
    const counts = countReplicas(
      stages,
      balanced.filter((member) => !member.unreliable),
    );
    const emptiest = counts.indexOf(Math.min(...counts));
    const fullest = counts.indexOf(Math.max(...counts));
    if ((counts[fullest] ?? 0) - (counts[emptiest] ?? 0) < 2) return balanced;
    const latest = balanced.findLastIndex((member) => member.stage === fullest && !member.unreliable);
    const moved = balanced[latest];
    if (moved === undefined) return balanced;
    balanced[latest] = { ...moved, stage: emptiest };
  }
}
