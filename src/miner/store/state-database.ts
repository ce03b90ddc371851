/**
 * The receipts of this miner and the count of its traffic, in SQLite. The daemon holds the database's exclusive lock as long as it lives, which makes it the
 * only one on its state folder: the operating system gives the lock back however the process ends.
 *
 * Nobody waits for the disk here: frames would wait as well. A commit is in SQLite's write-ahead log, which outlives the process; the
 * log is brought to the disk behind it. SQLite itself waits only when it moves the log into the database, a thousand pages at a time.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { fileFailure } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import { type RunId, runIdSchema } from "../../protocol/ids.ts";
import { type Receipt, receiptBytes } from "../../protocol/receipt.ts";
import { BackgroundSync, type SyncFile } from "./background-sync.ts";

export interface ReceiptTotals {
  readonly microCredits: number;
  readonly tokens: number;
}

/** Bytes on the wire. */
export interface StoredTraffic {
  /** Null: while the miner worked for none. */
  readonly runId: RunId | null;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export interface StateDatabase {
  /**
   * Keeps a receipt with the network's signature, as evidence; one that is kept already is ignored. Throws when it cannot be written.
   * It counts at once, and resolves when no power cut takes it away any more.
   */
  addReceipt(receipt: Receipt, signature: Uint8Array): Promise<void>;
  receiptTotals(): ReceiptTotals;
  /** The newest receipt's, which is the price that the network pays now; null before the first. */
  latestReceipt(): ReceiptTotals | null;
  /** Adds to what is there; a power cut may take it away until the next receipt is on the disk. */
  addTraffic(more: readonly StoredTraffic[]): void;
  traffic(): readonly StoredTraffic[];
  close(): void;
}

/** No run has an empty id. */
const noRun = "";

/** Throws `FailureError`: already-running when another daemon has this folder, state-corrupt, disk-full, file-unreadable. */
export function openStateDatabase(folder: string, syncFile?: SyncFile): StateDatabase {
  const file = join(folder, "state.sqlite");
  const database = new Database(file, { timeout: 0 });
  try {
    database.pragma("locking_mode = exclusive");
    database.pragma("journal_mode = wal");
    database.pragma("synchronous = normal");
    // On macOS what is synced may otherwise still lie in the drive's cache.
    database.pragma("fullfsync = on");
    database.exec(`
      create table if not exists receipt (
        networkId text, runId text, epoch integer, attempt integer, stage integer,
        tokens integer not null, microCredits integer not null, checks text not null, atMs integer not null,
        signedBytes blob, signature blob,
        primary key (networkId, runId, epoch, attempt, stage)
      ) strict;
      create table if not exists traffic (
        runId text primary key, sentBytes integer not null, receivedBytes integer not null
      ) strict`);
    addSignatureColumns(database);
    // A change, since SQLite waits for the disk with the first one after it was opened.
    database.pragma("user_version = 1");
    // A file beside the database has none of its locks, which would be lost when it is closed.
    return withDatabase(database, new BackgroundSync(`${file}-wal`, syncFile));
  } catch (cause) {
    database.close();
    throw openFailure(folder, file, cause);
  }
}

/** Files of earlier versions have receipts without their signatures. */
function addSignatureColumns(database: Database.Database): void {
  const columns = database.prepare<[], { name: string }>("select name from pragma_table_info('receipt')").all();
  if (columns.some(({ name }) => name === "signature")) return;
  database.exec("alter table receipt add column signedBytes blob; alter table receipt add column signature blob");
}

function withDatabase(database: Database.Database, log: BackgroundSync): StateDatabase {
  const insert = database.prepare(`insert or ignore into receipt
    (networkId, runId, epoch, attempt, stage, tokens, microCredits, checks, atMs, signedBytes, signature)
    values (@networkId, @runId, @epoch, @attempt, @stage, @tokens, @microCredits, @checks, @atMs, @signedBytes, @signature)`);
  const sum = database.prepare<[], ReceiptTotals>(
    "select coalesce(sum(microCredits), 0) as microCredits, coalesce(sum(tokens), 0) as tokens from receipt",
  );
  const latest = database.prepare<[], ReceiptTotals>(
    "select microCredits, tokens from receipt order by atMs desc, rowid desc limit 1",
  );
  const addUp = database.prepare(`insert into traffic (runId, sentBytes, receivedBytes)
    values (@runId, @sentBytes, @receivedBytes) on conflict (runId) do update
    set sentBytes = sentBytes + @sentBytes, receivedBytes = receivedBytes + @receivedBytes`);
  const addTraffic = database.transaction((more: readonly StoredTraffic[]) => {
    for (const { runId, sentBytes, receivedBytes } of more)
      addUp.run({ runId: runId ?? noRun, sentBytes, receivedBytes });
  });
  const traffic = database.prepare<[], { runId: string; sentBytes: number; receivedBytes: number }>(
    "select runId, sentBytes, receivedBytes from traffic order by rowid",
  );
  return {
    addReceipt(receipt, signature) {
      const { networkId, at, stage, tokens, microCredits, checks, atMs } = receipt;
      insert.run({
        networkId,
        ...at,
        stage,
        tokens,
        microCredits,
        checks: checks.join(" "),
        atMs: Math.round(atMs),
        signedBytes: receiptBytes(receipt),
        signature,
      });
      return log.sync();
    },
    receiptTotals: () => sum.get() ?? { microCredits: 0, tokens: 0 },
    latestReceipt: () => latest.get() ?? null,
    addTraffic,
    traffic: () =>
      traffic
        .all()
        .map(({ runId, ...bytes }) => ({ runId: runId === noRun ? null : runIdSchema.parse(runId), ...bytes })),
    close: () => {
      database.close();
    },
  };
}

function openFailure(folder: string, file: string, cause: unknown): unknown {
  const code = cause instanceof Database.SqliteError ? cause.code : "";
  if (code.startsWith("SQLITE_BUSY"))
    return new FailureError("already-running", `another daemon is working in ${folder}`, {
      action: "Use that one (tah status), end it (tah stop), or give this one its own folder with TAH_STATE.",
      cause,
    });
  if (code === "SQLITE_NOTADB" || code.startsWith("SQLITE_CORRUPT"))
    return new FailureError("state-corrupt", `${file} is damaged`, {
      action: "Move it away and start again: the network keeps the credits, this file only shows them.",
      cause,
    });
  if (code === "SQLITE_FULL")
    return new FailureError("disk-full", `no space is left to write ${file}`, {
      action: "Free some disk space.",
      cause,
    });
  if (/^SQLITE_(IOERR|CANTOPEN|READONLY)/.test(code)) return fileFailure(`${file} cannot be read or written`, cause);
  return cause;
}
