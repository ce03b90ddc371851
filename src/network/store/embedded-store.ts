/** The store in one SQLite file: write-ahead log, every commit synced before it resolves. */
import Database from "better-sqlite3";
import { z } from "zod";
import { FailureError } from "../../protocol/failure.ts";
import { type MinerId, type RunId, runIdSchema } from "../../protocol/ids.ts";
import { receiptSchema } from "../../protocol/messages.ts";
import { type Account, type Transfer, transferSchema } from "../ledger/ledger.ts";
import type { RunEvent } from "../orchestrator/core/event.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import type { Commit, SignedReceipt, Store, StoredRun } from "./store.ts";

/** Raised with every change of the tables; an older program refuses a newer file. */
const schemaVersion = 1;

const tables = `
  CREATE TABLE events (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run_id, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE snapshots (
    run_id TEXT NOT NULL, sequence INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run_id, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE transfers (
    entry INTEGER PRIMARY KEY, reference TEXT NOT NULL UNIQUE, from_account TEXT NOT NULL, to_account TEXT NOT NULL,
    micro_credits INTEGER NOT NULL CHECK (micro_credits > 0), body TEXT NOT NULL
  ) STRICT;
  CREATE TABLE receipts (
    entry INTEGER PRIMARY KEY, miner_id TEXT NOT NULL, body TEXT NOT NULL, signature BLOB NOT NULL
  ) STRICT;
  CREATE INDEX receipts_by_miner ON receipts (miner_id);
`;

/** An older snapshot is kept in case the last one turns out to be unreadable by hand and eye. */
const keptSnapshots = 2;

/** Events kept behind the latest snapshot, to see what led to a fault: some 30 MB, days of a small run. */
const defaultKeptEvents = 100_000;

/** A process that was just killed may take a moment to let go of its files. */
const lockPatienceMs = 2000;

const sequenceRow = z.object({ sequence: z.number().nullable() });
const bodyRow = z.object({ body: z.string() });
const snapshotRow = bodyRow.extend({ sequence: z.number() });
const runRow = z.object({ run_id: runIdSchema });
const balanceRow = z.object({ account: z.string(), balance: z.bigint() });
const receiptRow = bodyRow.extend({ signature: z.instanceof(Uint8Array) });

export class EmbeddedStore implements Store {
  readonly #database: Database.Database;
  readonly #keptEvents: number;

  private constructor(database: Database.Database, keptEvents: number) {
    this.#database = database;
    this.#keptEvents = keptEvents;
  }

  /** Creates the file when missing. Rejects with `FailureError`: state-corrupt, disk-full, already-running. */
  static async open(path: string, { keptEvents = defaultKeptEvents } = {}): Promise<EmbeddedStore> {
    return guarded(path, () => {
      const database = new Database(path, { timeout: lockPatienceMs });
      try {
        // One orchestrator per log: a second one on the same files would fork the run's history.
        database.pragma("locking_mode = EXCLUSIVE");
        database.pragma("journal_mode = WAL");
        database.pragma("synchronous = FULL");
        prepareTables(database, path);
        return new EmbeddedStore(database, keptEvents);
      } catch (error) {
        database.close();
        throw error;
      }
    });
  }

  async runIds(): Promise<readonly RunId[]> {
    return this.#all(runRow, "SELECT DISTINCT run_id FROM snapshots ORDER BY run_id").map((row) => row.run_id);
  }

  async loadRun(runId: RunId): Promise<StoredRun | undefined> {
    const latest = "SELECT sequence, body FROM snapshots WHERE run_id = ? ORDER BY sequence DESC LIMIT 1";
    const snapshot = this.#all(snapshotRow, latest, runId)[0];
    if (snapshot === undefined) return undefined;
    const since = "SELECT body FROM events WHERE run_id = ? AND sequence > ? ORDER BY sequence";
    const events = this.#all(bodyRow, since, runId, snapshot.sequence);
    return this.#guarded(() => ({
      // What this program wrote itself is trusted; a damaged file does not parse.
      snapshot: JSON.parse(snapshot.body) as RunState,
      events: events.map(({ body }) => JSON.parse(body) as RunEvent),
    }));
  }

  async commit({ runId, events, transfers, receipts, snapshot }: Commit): Promise<void> {
    this.#transaction(() => {
      let sequence = this.#lastSequence(runId);
      const insert = this.#database.prepare("INSERT INTO events (run_id, sequence, body) VALUES (?, ?, ?)");
      for (const event of events) insert.run(runId, ++sequence, JSON.stringify(event));
      this.#insertTransfers(transfers);
      const insertReceipt = this.#database.prepare("INSERT INTO receipts (miner_id, body, signature) VALUES (?, ?, ?)");
      for (const { receipt, signature } of receipts)
        insertReceipt.run(receipt.minerId, JSON.stringify(receipt), signature);
      if (snapshot !== null) this.#insertSnapshot(runId, sequence, snapshot);
    });
  }

  async enter(transfers: readonly Transfer[]): Promise<void> {
    this.#transaction(() => this.#insertTransfers(transfers));
  }

  async balances(): Promise<ReadonlyMap<Account, bigint>> {
    const sums = `
      SELECT account, SUM(amount) AS balance FROM (
        SELECT to_account AS account, micro_credits AS amount FROM transfers
        UNION ALL SELECT from_account, -micro_credits FROM transfers
      ) GROUP BY account ORDER BY account`;
    const rows = this.#guarded(() => z.array(balanceRow).parse(this.#database.prepare(sums).safeIntegers().all()));
    return new Map(rows.map(({ account, balance }) => [account as Account, balance]));
  }

  async transfers(): Promise<readonly Transfer[]> {
    const rows = this.#all(bodyRow, "SELECT body FROM transfers ORDER BY entry");
    return rows.map(({ body }) => transferSchema.parse(JSON.parse(body)));
  }

  async receipts(minerId: MinerId): Promise<readonly SignedReceipt[]> {
    const rows = this.#all(
      receiptRow,
      "SELECT body, signature FROM receipts WHERE miner_id = ? ORDER BY entry",
      minerId,
    );
    return rows.map(({ body, signature }) => ({
      receipt: receiptSchema.parse(JSON.parse(body)),
      signature: new Uint8Array(signature),
    }));
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  #lastSequence(runId: RunId): number {
    const last = `
      SELECT MAX(sequence) AS sequence FROM (
        SELECT sequence FROM events WHERE run_id = @runId UNION ALL SELECT sequence FROM snapshots WHERE run_id = @runId
      )`;
    return sequenceRow.parse(this.#database.prepare(last).get({ runId })).sequence ?? 0;
  }

  #insertSnapshot(runId: RunId, sequence: number, snapshot: RunState): void {
    const insert = "INSERT OR REPLACE INTO snapshots (run_id, sequence, body) VALUES (?, ?, ?)";
    this.#database.prepare(insert).run(runId, sequence, JSON.stringify(snapshot));
    const prune = `
      DELETE FROM snapshots WHERE run_id = @runId AND sequence NOT IN (
        SELECT sequence FROM snapshots WHERE run_id = @runId ORDER BY sequence DESC LIMIT @keptSnapshots
      )`;
    this.#database.prepare(prune).run({ runId, keptSnapshots });
    const forget = `
      DELETE FROM events WHERE run_id = @runId AND sequence <= MIN(
        @sequence - @keptEvents, (SELECT MIN(sequence) FROM snapshots WHERE run_id = @runId)
      )`;
    this.#database.prepare(forget).run({ runId, sequence, keptEvents: this.#keptEvents });
  }

  #insertTransfers(transfers: readonly Transfer[]): void {
    const insert = this.#database.prepare(
      "INSERT INTO transfers (reference, from_account, to_account, micro_credits, body) VALUES (?, ?, ?, ?, ?)",
    );
    for (const transfer of transfers) {
      const { reference, from, to, microCredits } = transfer;
      insert.run(reference, from, to, microCredits, JSON.stringify(transfer));
    }
  }

  #all<T>(schema: z.ZodType<T>, query: string, ...parameters: readonly unknown[]): T[] {
    return this.#guarded(() => z.array(schema).parse(this.#database.prepare(query).all(...parameters)));
  }

  #transaction(work: () => void): void {
    this.#guarded(() => this.#database.transaction(work).immediate());
  }

  #guarded<T>(work: () => T): T {
    return guarded(this.#database.name, work);
  }
}

function prepareTables(database: Database.Database, path: string): void {
  const version = z.number().parse(database.pragma("user_version", { simple: true }));
  if (version > schemaVersion)
    throw new FailureError("state-corrupt", `${path} was written by a newer version of this program.`, {
      action: "Install the newer version, or use another state folder.",
    });
  const verdict = database.pragma("quick_check(1)", { simple: true });
  if (verdict !== "ok") throw corrupt(path, String(verdict));
  if (version === schemaVersion) return;
  database.transaction(() => {
    database.exec(tables);
    database.pragma(`user_version = ${schemaVersion}`);
  })();
}

/** Turns what can go wrong with a file into typed failures; bugs pass through. */
function guarded<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Database.SqliteError) {
      if (/^SQLITE_(CORRUPT|NOTADB)/.test(error.code)) throw corrupt(path, error.message, error);
      if (error.code.startsWith("SQLITE_BUSY"))
        throw new FailureError("already-running", `Another process has ${path} open.`, {
          action: "End the other network first, or use another state folder.",
          cause: error,
        });
      if (error.code === "SQLITE_FULL")
        throw new FailureError("disk-full", `No space is left to write ${path}.`, {
          action: "Free some space.",
          cause: error,
        });
    }
    if (error instanceof SyntaxError || error instanceof z.ZodError) throw corrupt(path, error.message, error);
    throw error;
  }
}

function corrupt(path: string, detail: string, cause?: unknown): FailureError {
  return new FailureError("state-corrupt", `${path} is damaged: ${detail}`, {
    action: "Restore it from a backup, or move it away to begin anew.",
    cause,
  });
}
