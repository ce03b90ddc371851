/** Questions about what the current epoch starts from. */
import type { MinerId, PlaceRef } from "../../../protocol/ids.ts";
import type { Next } from "./next.ts";
import type { StartingState } from "./starting-state.ts";
import { memberOf, type RunState, stageName } from "./state.ts";

/** Whether nothing would be lost if all miners were. */
export function isRecorded({ start }: Pick<RunState, "start">): boolean {
  return start === null || start.stages.every(({ stored }) => stored !== null);
}

/** Where the state was merged: it names the snapshots of it. */
export function mergedPlace(
  { definition }: RunState,
  { epoch, mergedAttempt }: Pick<StartingState, "epoch" | "mergedAttempt">,
  stage: number,
): PlaceRef {
  return { runId: definition.runId, epoch: epoch - 1, attempt: mergedAttempt, stage };
}

/** Whether somebody is about to copy a state to its disk. */
export function awaitsSnapshots({ start }: RunState): boolean {
  return start?.stages.some(({ keeper }) => keeper !== null && keeper.blobs === null) ?? false;
}

/** Null while of each stage somebody has the starting state. */
export function fallBackIfLost(state: RunState): Next | null {
  const stage = state.start?.stages.findIndex(({ stored, keeper, inStep }) => {
    const hasKeeper = keeper !== null && memberOf(state, keeper.minerId) !== undefined;
    return stored === null && !hasKeeper && inStep.length === 0;
  });
  if (stage === undefined || stage === -1) return null;
  return {
    to: "fall-back",
    why: `All who had the merged weights of ${stageName(state, stage).toLowerCase()} are lost.`,
  };
}

/** Whether the stage's state might be lost with this miner. */
export function isNeeded({ start, upload }: RunState, minerId: MinerId): boolean {
  const stores = upload?.stages.some(({ storer, isStored }) => storer === minerId && !isStored) ?? false;
  const keeps = start?.stages.some(
    ({ stored, keeper, inStep }) =>
      stored === null && (keeper === null ? inStep.includes(minerId) : keeper.minerId === minerId),
  );
  return stores || (keeps ?? false);
}
