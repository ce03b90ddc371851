/** Snapshots and events as rows of text with a checksum, since a database notices damage to its pages' structure only. */
import { crc32 } from "node:zlib";
import { z } from "zod";
import type { LogEntry } from "./store.ts";

export const logRowSchema = z.object({ sequence: z.number(), body: z.string(), checksum: z.number() });
export type LogRow = Readonly<z.infer<typeof logRowSchema>>;

/** Text and checksum. */
export function sealed(value: object): [body: string, checksum: number] {
  const body = JSON.stringify(value);
  return [body, crc32(body)];
}

export function isIntact({ body, checksum }: LogRow): boolean {
  return crc32(body) === checksum;
}

/** What this program wrote itself is trusted, once it is what was written. */
export function logEntry<T>(row: LogRow): LogEntry<T> {
  return { sequence: row.sequence, value: isIntact(row) ? (JSON.parse(row.body) as T) : null };
}

export function isUnharmed<T>(entry: LogEntry<T>): entry is { sequence: number; value: T } {
  return entry.value !== null;
}

/** The number of the first event after `since`, up to `last`, that is damaged or missing; null: none. */
export function firstHarmed(
  events: readonly LogEntry<unknown>[],
  since: number,
  last = events.at(-1)?.sequence ?? since,
): number | null {
  const unharmed = new Set(events.filter(isUnharmed).map(({ sequence }) => sequence));
  for (let sequence = since + 1; sequence <= last; sequence++) if (!unharmed.has(sequence)) return sequence;
  return null;
}
