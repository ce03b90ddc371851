/** A checkpoint lies in the blob store, whole: it stands, and what went into it is credited. */
import type { MinerId } from "../../../protocol/ids.ts";
import type { Checkpoint } from "../../../protocol/run-view.ts";
import type { Turn } from "./turn.ts";

export function recordCheckpoint(turn: Turn): void {
  const { upload, start, checkpoint: before } = turn.state;
  if (upload === null) return;
  const { epoch, tokens } = upload;
  const stages = upload.stages.map(({ weights, optimizer }) => ({ weights, optimizer }));
  const checkpoint: Checkpoint = { epoch, tokens, stages };
  creditMerged(turn, epoch);
  turn.effects.push({ type: "checkpoint-recorded", checkpoint });
  turn.change({
    upload: null,
    checkpoint,
    previousCheckpoint: before,
    start:
      start?.epoch === epoch
        ? { ...start, stages: start.stages.map((stage, index) => ({ ...stage, stored: stages[index] ?? null })) }
        : start,
  });
}

/** Everything that was merged before this epoch. */
function creditMerged(turn: Turn, epoch: number): void {
  const { uncredited, credits: before } = turn.state;
  const credits: Record<MinerId, number> = { ...before };
  for (const earned of uncredited) {
    if (earned.at.epoch >= epoch) continue;
    credits[earned.minerId] = (credits[earned.minerId] ?? 0) + earned.microCredits;
    turn.effects.push({ type: "credit", receipt: { ...earned, atMs: turn.atMs } });
  }
  turn.change({ credits, uncredited: uncredited.filter(({ at }) => at.epoch >= epoch) });
}
