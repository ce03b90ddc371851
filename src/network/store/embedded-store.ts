/** The store in one SQLite file: write-ahead log, every commit synced before it resolves. */
import type Database from "better-sqlite3";
import { z } from "zod";
import { type MinerId, minerIdSchema, type RunId, runIdSchema } from "../../protocol/ids.ts";
import { type PayoutAddress, payoutAddressSchema } from "../../protocol/payout-address.ts";
import { receiptSchema } from "../../protocol/receipt.ts";
import { type Account, type Transfer, transferSchema } from "../ledger/ledger.ts";
import type { RunEvent } from "../orchestrator/core/event.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import { corrupt, guarded, openForReading, openForWriting } from "./database-file.ts";
import { firstHarmed, isIntact, isUnharmed, type LogRow, logEntry, logRowSchema, sealed } from "./log-entry.ts";
import type { Commit, LogEntry, SignedReceipt, Store, StoredLog, StoredRun } from "./store.ts";

/** The older one stands in for the last one if that is damaged; the events since are kept with it. */
const keptSnapshots = 2;

/** Events kept behind the latest snapshot, to see what led to a fault: some 30 MB, days of a small run. */
const defaultKeptEvents = 100_000;

const sequenceRow = z.object({ sequence: z.number().nullable() });
const bodyRow = z.object({ body: z.string() });
const runRow = z.object({ run_id: runIdSchema });
const weightRow = runRow.extend({ weight: z.number() });
const balanceRow = z.object({ account: z.string(), balance: z.bigint() });
const payoutAddressRow = z.object({ miner_id: minerIdSchema, address: payoutAddressSchema });
const receiptRow = bodyRow.extend({ signature: z.instanceof(Uint8Array) });

export class EmbeddedStore implements Store {
  readonly #database: Database.Database;
  readonly #keptEvents: number;

  private constructor(database: Database.Database, keptEvents: number) {
    this.#database = database;
    this.#keptEvents = keptEvents;
  }

  /** Creates the file when missing. Rejects with `FailureError`: state-corrupt, disk-full, already-running, file-unreadable. */
  static async open(path: string, { keptEvents = defaultKeptEvents } = {}): Promise<EmbeddedStore> {
    return new EmbeddedStore(openForWriting(path), keptEvents);
  }

  /** Of a network that does not run. Rejects like `open`, and when there is no such file. */
  static async openReadOnly(path: string): Promise<EmbeddedStore> {
    return new EmbeddedStore(openForReading(path), defaultKeptEvents);
  }

  async runIds(): Promise<readonly RunId[]> {
    return this.#all(runRow, "SELECT DISTINCT run_id FROM snapshots ORDER BY run_id").map((row) => row.run_id);
  }

  async loadRun(runId: RunId): Promise<StoredRun | undefined> {
    const snapshots = this.#snapshotRows(runId);
    const latest = snapshots.findLast(isIntact);
    if (latest === undefined) {
      if (snapshots.length === 0) return undefined;
      throw corrupt(this.#database.name, `no snapshot of ${runId} can be read any more.`);
    }
    const events = this.#events(runId, latest.sequence);
    const harmed = firstHarmed(events, latest.sequence);
    if (harmed !== null) throw corrupt(this.#database.name, `event ${harmed} of ${runId} is damaged or missing.`);
    return {
      snapshot: JSON.parse(latest.body) as RunState,
      events: events.filter(isUnharmed).map(({ value }) => value),
      damagedSnapshots: snapshots.length - 1 - snapshots.indexOf(latest),
      lastEventAtMs: this.#events(runId, this.#lastSequence(runId) - 1)[0]?.value?.atMs ?? null,
    };
  }

  async readLog(runId: RunId): Promise<StoredLog> {
    return {
      snapshots: this.#snapshotRows(runId).map(logEntry<RunState>),
      events: this.#events(runId, 0),
    };
  }

  async commit({ runId, events, transfers, receipts, snapshot }: Commit): Promise<void> {
    this.#transaction(() => {
      let sequence = this.#lastSequence(runId);
      const insert = this.#database.prepare(
        "INSERT INTO events (run_id, sequence, body, checksum) VALUES (?, ?, ?, ?)",
      );
      for (const event of events) insert.run(runId, ++sequence, ...sealed(event));
      this.#insertTransfers(transfers);
      const insertReceipt = this.#database.prepare("INSERT INTO receipts (miner_id, body, signature) VALUES (?, ?, ?)");
      for (const { receipt, signature } of receipts)
        insertReceipt.run(receipt.minerId, JSON.stringify(receipt), signature);
      if (snapshot !== null) this.#insertSnapshot(runId, sequence, snapshot);
    });
  }

  async weights(): Promise<ReadonlyMap<RunId, number>> {
    const rows = this.#all(weightRow, "SELECT run_id, weight FROM weights");
    return new Map(rows.map(({ run_id, weight }) => [run_id, weight]));
  }

  async setWeight(runId: RunId, weight: number): Promise<void> {
    const upsert = "INSERT OR REPLACE INTO weights (run_id, weight) VALUES (?, ?)";
    this.#transaction(() => this.#database.prepare(upsert).run(runId, weight));
  }

  async deleteRun(runId: RunId): Promise<void> {
    this.#transaction(() => {
      for (const table of ["events", "snapshots", "weights"])
        this.#database.prepare(`DELETE FROM ${table} WHERE run_id = ?`).run(runId);
    });
  }

  async setPayoutAddress(minerId: MinerId, address: PayoutAddress | null): Promise<void> {
    const query = "SELECT miner_id, address FROM payout_addresses WHERE miner_id = ?";
    const [known] = this.#all(payoutAddressRow, query, minerId);
    // Said again with every session: nothing is written, and synced, for that.
    if ((known?.address ?? null) === address) return;
    this.#transaction(() => {
      this.#database.prepare("DELETE FROM payout_addresses WHERE miner_id = ?").run(minerId);
      if (address === null) return;
      const insert = `
        INSERT INTO payout_addresses (miner_id, address)
        SELECT @minerId, @address WHERE EXISTS (SELECT 1 FROM receipts WHERE miner_id = @minerId)`;
      this.#database.prepare(insert).run({ minerId, address });
    });
  }

  async payoutAddresses(): Promise<ReadonlyMap<MinerId, PayoutAddress>> {
    const rows = this.#all(payoutAddressRow, "SELECT miner_id, address FROM payout_addresses");
    return new Map(rows.map(({ miner_id, address }) => [miner_id, address]));
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
    return this.#guarded(() => rows.map(({ body }) => transferSchema.parse(JSON.parse(body))));
  }

  async receipts(minerId?: MinerId): Promise<readonly SignedReceipt[]> {
    const rows =
      minerId === undefined
        ? this.#all(receiptRow, "SELECT body, signature FROM receipts ORDER BY entry")
        : this.#all(receiptRow, "SELECT body, signature FROM receipts WHERE miner_id = ? ORDER BY entry", minerId);
    return this.#guarded(() =>
      rows.map(({ body, signature }) => ({
        receipt: receiptSchema.parse(JSON.parse(body)),
        signature: new Uint8Array(signature),
      })),
    );
  }

  async hasReceipts(minerId: MinerId): Promise<boolean> {
    const query = "SELECT miner_id FROM receipts WHERE miner_id = ? LIMIT 1";
    return this.#all(z.object({ miner_id: minerIdSchema }), query, minerId).length > 0;
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

  #snapshotRows(runId: RunId): readonly LogRow[] {
    const query = "SELECT sequence, body, checksum FROM snapshots WHERE run_id = ? ORDER BY sequence";
    return this.#all(logRowSchema, query, runId);
  }

  #events(runId: RunId, since: number): readonly LogEntry<RunEvent>[] {
    const query = "SELECT sequence, body, checksum FROM events WHERE run_id = ? AND sequence > ? ORDER BY sequence";
    return this.#guarded(() => this.#all(logRowSchema, query, runId, since).map(logEntry<RunEvent>));
  }

  /** A damaged one must not take the place of one that can stand in. */
  #insertSnapshot(runId: RunId, sequence: number, snapshot: RunState): void {
    const remove = this.#database.prepare("DELETE FROM snapshots WHERE run_id = ? AND sequence = ?");
    for (const row of this.#snapshotRows(runId)) if (!isIntact(row)) remove.run(runId, row.sequence);
    const insert = "INSERT OR REPLACE INTO snapshots (run_id, sequence, body, checksum) VALUES (?, ?, ?, ?)";
    this.#database.prepare(insert).run(runId, sequence, ...sealed(snapshot));
    // The one before all events that are kept stays with them, so that a run's whole history can be replayed.
    const prune = `
      DELETE FROM snapshots WHERE run_id = @runId AND sequence NOT IN (
        SELECT sequence FROM snapshots WHERE run_id = @runId ORDER BY sequence DESC LIMIT @keptSnapshots
      ) AND sequence NOT IN (
        SELECT MIN(sequence) FROM snapshots WHERE run_id = @runId HAVING MIN(sequence) >= @sequence - @keptEvents
      )`;
    this.#database.prepare(prune).run({ runId, sequence, keptSnapshots, keptEvents: this.#keptEvents });
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
