/** What lets a miner that comes back make the current weights of its own: those that its last epoch began with, on its disk. */
import { failureOf } from "../../protocol/failure.ts";
import { bytesOf } from "../../protocol/identity.ts";
import type { LogLine } from "../../protocol/machine-view.ts";
import { stageNames } from "../../protocol/stage-names.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { Clock } from "../session/clock.ts";
import type { HeldState } from "./starting-state.ts";

export interface KeptStartOptions {
  readonly blobs: Pick<BlobClient, "keep">;
  readonly clock: Pick<Clock, "after">;
  readonly log: (level: LogLine["level"], text: string) => void;
}

/** Nobody waits longer than this for a worker that is busy. */
const mostKeepingMs = 10_000;

/** Null where they would be of no use: `load-checkpoint.ts` says when they are. Otherwise it resolves when the worker is no longer needed. */
export function keepStart(held: HeldState | null, options: KeptStartOptions): Promise<void> | null {
  if (held === null) return null;
  const { mode, outerMomentum, compression } = held.openedFor.training;
  if (mode === "sync" || outerMomentum !== 0 || compression.merge.kind === "f32") return null;
  return keep(held, options);
}

async function keep({ engine, openedFor }: HeldState, { blobs, clock, log }: KeptStartOptions): Promise<void> {
  const late = Promise.withResolvers<null>();
  const stopTimer = clock.after(mostKeepingMs, () => late.resolve(null));
  try {
    const weights = await Promise.race([engine.call("epochStart"), late.promise]);
    if (weights !== null) await blobs.keep(bytesOf(weights));
  } catch (error) {
    const message = failureOf(error)?.message ?? String(error);
    log("warning", `The weights of ${stageNames([openedFor.stage.index])} are not on disk: ${message}`);
  } finally {
    stopTimer();
  }
}
