/**
 * How fast a line is, from transfers that double until two have taken long enough to tell. The early ones bring the connection up to
 * speed; of the others the fastest counts, since everything that disturbs one makes it slower. On a fast line that moves much, on a slow
 * one little, and on any it is over in seconds.
 */
import { mostLineBytes } from "../../protocol/line-view.ts";

/** A quarter of a second on a line of 1 Mbit/s. */
const firstBytes = 32 << 10;
/** A transfer that takes so long, and so many round trips, tells enough: TCP needs some of those to come up to speed. */
const enoughMs = 500;
const enoughRoundTrips = 4;
const enoughTransfers = 2;
/** One that is over sooner tells nothing, where longer ones do. */
const leastMs = 250;

/** Moves so many bytes. Resolves with how long that took, from the request to the end of its answer; null: longer than there is time for. */
export type Transfer = (bytes: number) => Promise<number | null>;

/** Bytes per second; null: not even the first transfer came to an end. `roundTripMs` is part of every transfer. Rejects as `transfer` does. */
export async function transferRate(transfer: Transfer, roundTripMs: number): Promise<number | null> {
  const longMs = Math.max(enoughMs, enoughRoundTrips * roundTripMs);
  let longTransfers = 0;
  let fastest = 0;
  let last: number | null = null;
  for (let bytes = firstBytes; bytes <= mostLineBytes && longTransfers < enoughTransfers; bytes *= 2) {
    const elapsedMs = await transfer(bytes);
    if (elapsedMs === null) break;
    const movingMs = Math.max(elapsedMs - roundTripMs, 1);
    last = (bytes / movingMs) * 1000;
    if (movingMs >= leastMs) fastest = Math.max(fastest, last);
    if (movingMs >= longMs) longTransfers += 1;
  }
  return fastest || last;
}

/** The middle one, and by how much one differs from the next in the middle. Null: there is none. */
export function roundTripOf(
  samplesMs: readonly number[],
): { readonly medianMs: number; readonly jitterMs: number } | null {
  const medianMs = medianOf(samplesMs);
  if (medianMs === undefined) return null;
  const differences = samplesMs.slice(1).map((sample, index) => Math.abs(sample - (samplesMs[index] ?? sample)));
  return { medianMs, jitterMs: medianOf(differences) ?? 0 };
}

/** Undefined: of none. */
function medianOf(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
