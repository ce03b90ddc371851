/** Reads what a stopped orchestrator has written: all of its log that is still there, and its receipts. */
import { join } from "node:path";
import { EmbeddedStore } from "../../../src/network/store/embedded-store.ts";
import type { Books } from "./invariants.ts";

/** Of a network with one run. */
export async function readBooks(stateFolder: string): Promise<Books> {
  const store = await EmbeddedStore.openReadOnly(join(stateFolder, "network.sqlite"));
  try {
    const [runId] = await store.runIds();
    const log = runId && (await store.readLog(runId));
    const first = log?.snapshots[0];
    if (!log || !first?.value) throw new Error("the orchestrator's first snapshot is missing or damaged");
    const events = log.events.flatMap(({ sequence, value }) => (value && sequence > first.sequence ? [value] : []));
    const signed = await store.receipts();
    return { first: first.value, events, receipts: signed.map(({ receipt }) => receipt) };
  } finally {
    await store.close();
  }
}
