/** When miners or the disk have lost what the run would go on from: it goes back to what lies in the blob store. */
import { abandonUpload } from "./keeping.ts";
import { startFrom } from "./starting-state.ts";
import type { Turn } from "./turn.ts";
import { standBy } from "./waiting.ts";

/**
 * The epoch starts again, from the last checkpoint. Its number stays, since no epoch is credited twice. What was merged since is lost,
 * and earns nothing; all that was credited lies in the checkpoint.
 */
export function fallBack(turn: Turn, why: string): void {
  const { checkpoint, tokens, epoch, attempt } = turn.state;
  const before = checkpoint?.tokens ?? 0;
  abandonUpload(turn, "what follows it is lost");
  turn.change({ start: startFrom(checkpoint, epoch), tokens: before, uncredited: [], attempt: attempt + 1 });
  const whereto = checkpoint === null ? "begins again" : "goes on from the last checkpoint";
  turn.log("error", `${why} The run ${whereto}, without the last ${tokens - before} tokens.`);
  const { phase } = turn.state;
  if (phase.name !== "paused" && phase.name !== "finished")
    standBy(turn, { notBeforeMs: turn.atMs, gatherUntilMs: turn.atMs });
}

/** The blobs of the last checkpoint are lost or damaged: the one before takes its place. Its credits stay: losing it was nobody's fault. */
export function dropCheckpoint(turn: Turn): void {
  const { checkpoint, previousCheckpoint, start } = turn.state;
  if (checkpoint === null || previousCheckpoint === null) return;
  turn.change({ checkpoint: previousCheckpoint, previousCheckpoint: null });
  // Miners hold a later state than the damaged one, unless the epoch starts from that.
  if (start?.stages.some(({ stored }) => stored !== null)) fallBack(turn, "The last checkpoint is damaged.");
  else turn.log("error", "The last checkpoint is damaged; miners hold what was merged since.");
}
