/**
 * Looks a stopped network's state folder over, without changing it: does the log lead to the snapshots, do the books balance, is
 * everything there that is referred to? `tah network audit` prints it. This folder may import what `network` is made of.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { FailureError } from "../../protocol/failure.ts";
import type { RunId } from "../../protocol/ids.ts";
import { EmbeddedStore } from "../store/embedded-store.ts";
import { auditBlobs } from "./audit-blobs.ts";
import { auditLedger } from "./audit-ledger.ts";
import { auditLog, type LogAudit } from "./audit-log.ts";
import type { Finding } from "./finding.ts";

export interface AuditReport {
  /** Nothing was found. */
  readonly ok: boolean;
  readonly runs: readonly AuditedRun[];
  readonly transfers: number;
  readonly receipts: number;
  /** That are referred to, and the bytes of those that are unharmed. */
  readonly blobs: number;
  readonly blobBytes: number;
  readonly findings: readonly Finding[];
}

export interface AuditedRun {
  readonly runId: RunId;
  /** In the log. */
  readonly events: number;
  /** Null where the log is too damaged to tell. */
  readonly epoch: number | null;
  readonly tokens: number | null;
}

/** Rejects with `FailureError`: not-found, already-running, state-corrupt when nothing can be read at all, file-unreadable. */
export async function auditNetwork(stateFolder: string): Promise<AuditReport> {
  const path = join(stateFolder, "network.sqlite");
  if ((await stat(path).catch(() => null)) === null)
    throw new FailureError("not-found", `There is no network in ${stateFolder}.`, {
      action: "Name the state folder of one with --state.",
    });
  const store = await EmbeddedStore.openReadOnly(path);
  try {
    const logs = await auditLogs(store);
    const states = logs.flatMap(({ state }) => state ?? []);
    const books = {
      transfers: await store.transfers(),
      receipts: await store.receipts(),
      balances: await store.balances(),
    };
    const { blobs, bytes, findings: blobFindings } = await auditBlobs(stateFolder, states);
    const findings = [...logs.flatMap((log) => log.findings), ...auditLedger(books, states), ...blobFindings];
    return {
      ok: findings.length === 0,
      runs: logs.map(({ runId, events, state }) => ({
        runId,
        events,
        epoch: state?.epoch ?? null,
        tokens: state?.tokens ?? null,
      })),
      transfers: books.transfers.length,
      receipts: books.receipts.length,
      blobs,
      blobBytes: bytes,
      findings,
    };
  } finally {
    await store.close();
  }
}

async function auditLogs(store: EmbeddedStore): Promise<readonly (LogAudit & { runId: RunId; events: number })[]> {
  const logs = [];
  for (const runId of await store.runIds()) {
    const log = await store.readLog(runId);
    logs.push({ runId, events: log.events.length, ...auditLog(runId, log) });
  }
  return logs;
}
