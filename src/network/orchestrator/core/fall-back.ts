/** When the last checkpoint is lost: the one before takes its place. */
import { perStage } from "./state.ts";
import type { Turn } from "./turn.ts";
import { standBy } from "./waiting.ts";

/**
 * The epoch starts again, from the checkpoint before the last. Its number stays, since no epoch is credited twice, and so do the
 * credits: the work was done, and losing it was nobody's fault.
 */
export function fallBack(turn: Turn): void {
  const { definition, checkpoint, previousCheckpoint, tokens, epoch, attempt, phase } = turn.state;
  if (checkpoint === null || previousCheckpoint === null) return;
  const lost = tokens - previousCheckpoint.tokens;
  turn.change({
    checkpoint: { ...previousCheckpoint, epoch },
    previousCheckpoint: null,
    holders: perStage(definition),
    tokens: previousCheckpoint.tokens,
    attempt: attempt + 1,
  });
  turn.log(
    "error",
    `The last checkpoint is damaged: the run goes on from the one before, without the last ${lost} tokens.`,
  );
  if (phase.name !== "paused" && phase.name !== "finished")
    standBy(turn, { notBeforeMs: turn.atMs, gatherUntilMs: turn.atMs });
}
