/** The store's SQLite file: its tables and version, how it is opened, and what can go wrong with it, as typed failures. */
import Database from "better-sqlite3";
import { z } from "zod";
import { FailureError } from "../../protocol/failure.ts";
import { stateVersion } from "./state-version.ts";
import { isLogDamaged } from "./write-ahead-log.ts";

const tables = `
  CREATE TABLE events (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (run_id, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE snapshots (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (run_id, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE transfers (
    entry INTEGER PRIMARY KEY, reference TEXT NOT NULL UNIQUE, from_account TEXT NOT NULL, to_account TEXT NOT NULL,
    micro_credits INTEGER NOT NULL CHECK (micro_credits > 0), body TEXT NOT NULL
  ) STRICT;
  CREATE TABLE receipts (
    entry INTEGER PRIMARY KEY, miner_id TEXT NOT NULL, body TEXT NOT NULL, signature BLOB NOT NULL
  ) STRICT;
  CREATE INDEX receipts_by_miner ON receipts (miner_id);
  CREATE TABLE weights (run_id TEXT PRIMARY KEY, weight INTEGER NOT NULL CHECK (weight > 0)) STRICT, WITHOUT ROWID;
`;

/** Came later, beside the others: state without it is no other state. */
const laterTables = `
  CREATE TABLE IF NOT EXISTS payout_addresses (miner_id TEXT PRIMARY KEY, address TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

/** A process that was just killed may take a moment to let go of its files. */
const lockPatienceMs = 2000;

/** To itself: one orchestrator per log, since a second one on the same files would fork the run's history. */
export function openForWriting(path: string): Database.Database {
  return opened(path, { timeout: lockPatienceMs }, (database) => {
    database.pragma("locking_mode = EXCLUSIVE");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    // On macOS a synced commit may otherwise still lie in the drive's cache.
    database.pragma("fullfsync = ON");
    const isNew = versionOf(database) === 0;
    if (!isNew) mustBeReadable(database, path, "quick_check(1)");
    else
      database.transaction(() => {
        database.exec(tables);
        database.pragma(`user_version = ${stateVersion}`);
      })();
    database.exec(laterTables);
  });
}

/** Examines the file thoroughly, and changes nothing. No network may run on it meanwhile. */
export function openForReading(path: string): Database.Database {
  return opened(path, { readonly: true, timeout: lockPatienceMs }, (database) =>
    mustBeReadable(database, path, "integrity_check(1)"),
  );
}

function opened(
  path: string,
  options: Database.Options,
  prepare: (database: Database.Database) => void,
): Database.Database {
  return guarded(path, () => {
    mustHaveWholeLog(path);
    const database = new Database(path, options);
    try {
      prepare(database);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/** Before it is opened: that would drop what lies behind the damage. */
function mustHaveWholeLog(path: string): void {
  if (!isLogDamaged(path)) return;
  // A running network's log is in motion, and may look like anything; it does not let anybody else read.
  const running = new Database(path, { readonly: true, timeout: 0 });
  try {
    versionOf(running);
  } finally {
    running.close();
  }
  throw corrupt(path, "its write-ahead log breaks off in the middle.");
}

function versionOf(database: Database.Database): number {
  return z.number().parse(database.pragma("user_version", { simple: true }));
}

function mustBeReadable(database: Database.Database, path: string, check: string): void {
  const version = versionOf(database);
  if (version > stateVersion)
    throw new FailureError("state-corrupt", `${path} was written by a newer version of this program.`, {
      action: "Install the newer version, or use another state folder.",
    });
  if (version < stateVersion)
    throw new FailureError("state-corrupt", `${path} was written by an older version of this program.`, {
      action: "Begin anew in another state folder, or go on with the older version.",
    });
  const verdict = database.pragma(check, { simple: true });
  if (verdict !== "ok") throw corrupt(path, String(verdict));
}

/** Turns what can go wrong with a file into typed failures; bugs pass through. */
export function guarded<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Database.SqliteError) throw failureOfDatabase(path, error);
    if (error instanceof SyntaxError || error instanceof z.ZodError) throw corrupt(path, error.message, error);
    throw error;
  }
}

export function corrupt(path: string, detail: string, cause?: unknown): FailureError {
  return new FailureError("state-corrupt", `${path} is damaged: ${detail}`, {
    action: "Restore it from a backup, or move it away to begin anew.",
    cause,
  });
}

function failureOfDatabase(path: string, cause: InstanceType<typeof Database.SqliteError>): Error {
  const { code, message } = cause;
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return corrupt(path, message, cause);
  if (code.startsWith("SQLITE_BUSY"))
    return new FailureError("already-running", `Another process has ${path} open.`, {
      action: "End the other network first, or use another state folder.",
      cause,
    });
  if (code === "SQLITE_FULL")
    return new FailureError("disk-full", `No space is left to write ${path}.`, { action: "Free some space.", cause });
  if (/^SQLITE_(IOERR|CANTOPEN|READONLY)/.test(code))
    return new FailureError("file-unreadable", `${path} cannot be read or written: ${message} (${code}).`, {
      action: "Check the disk, and this user's right to the file.",
      cause,
    });
  return cause;
}
