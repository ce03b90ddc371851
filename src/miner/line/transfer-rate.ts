/**
 * How fast a line is, from transfers that double until one takes long enough to tell. The early ones bring the connection up to speed; the
 * last one counts. On a fast line that moves much, on a slow one little, and on any it is over in seconds.
 */
import { mostLineBytes } from "../../protocol/line-view.ts";

/** A quarter of a second on a line of 1 Mbit/s. */
const firstBytes = 32 << 10;
/** A transfer that takes so long tells enough. */
const enoughMs = 1000;

/** Moves so many bytes. Resolves with how long that took, from the request to the end of its answer; null: longer than there is time for. */
export type Transfer = (bytes: number) => Promise<number | null>;

/** Bytes per second; null: not even the first transfer came to an end. `roundTripMs` is part of every transfer. Rejects as `transfer` does. */
export async function transferRate(transfer: Transfer, roundTripMs: number): Promise<number | null> {
  let rate: number | null = null;
  for (let bytes = firstBytes; bytes <= mostLineBytes; bytes *= 2) {
    const elapsedMs = await transfer(bytes);
    if (elapsedMs === null) return rate;
    const movingMs = Math.max(elapsedMs - roundTripMs, 1);
    rate = (bytes / movingMs) * 1000;
    if (movingMs >= enoughMs) return rate;
  }
  return rate;
}

/** The middle one, and by how much one differs from the next on average (as in RFC 3550, section 6.4.1). Null: there is none. */
export function roundTripOf(
  samplesMs: readonly number[],
): { readonly medianMs: number; readonly jitterMs: number } | null {
  const medianMs = samplesMs.toSorted((a, b) => a - b)[samplesMs.length >> 1];
  if (medianMs === undefined) return null;
  const differences = samplesMs.slice(1).map((sample, index) => Math.abs(sample - (samplesMs[index] ?? sample)));
  const sum = differences.reduce((total, difference) => total + difference, 0);
  return { medianMs, jitterMs: sum / Math.max(1, differences.length) };
}
