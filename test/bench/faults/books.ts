/** Reads what a stopped orchestrator has written: all of its log that is still there, and its accounts. */
import { join } from "node:path";
import Database from "better-sqlite3";
import { z } from "zod";
import type { RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import type { RunState } from "../../../src/network/orchestrator/core/state.ts";
import { EmbeddedStore } from "../../../src/network/store/embedded-store.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import type { Books } from "./invariants.ts";

const rows = z.array(z.object({ sequence: z.number(), body: z.string() }));

/** `miners`: whose receipts are read. */
export async function readBooks(stateFolder: string, miners: readonly MinerId[]): Promise<Books> {
  const file = join(stateFolder, "network.sqlite");
  const { first, events } = readLog(file);
  const store = await EmbeddedStore.open(file);
  try {
    const signed = await Promise.all(miners.map((minerId) => store.receipts(minerId)));
    return { first, events, receipts: signed.flat().map(({ receipt }) => receipt), transfers: await store.transfers() };
  } finally {
    await store.close();
  }
}

function readLog(file: string): Pick<Books, "first" | "events"> {
  const database = new Database(file, { readonly: true });
  try {
    const snapshots = "SELECT sequence, body FROM snapshots ORDER BY sequence LIMIT 1";
    const [snapshot] = rows.parse(database.prepare(snapshots).all());
    if (snapshot === undefined) throw new Error("the orchestrator has recorded no run");
    const since = "SELECT sequence, body FROM events WHERE sequence > ? ORDER BY sequence";
    const events = rows.parse(database.prepare(since).all(snapshot.sequence));
    // The program's own writing, which it trusts itself.
    return {
      first: JSON.parse(snapshot.body) as RunState,
      events: events.map(({ body }) => JSON.parse(body) as RunEvent),
    };
  } finally {
    database.close();
  }
}
