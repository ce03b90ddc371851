/**
 * What the network remembers: the event log of each run with snapshots, the ledger and receipts.
 * Blobs are kept beside it (`src/transport/blobs/file-blob-store.ts`). Implementations: embedded (`embedded-store.ts`).
 * The contract suite is `test/contract/store.ts`. This folder imports `protocol`, `ledger` and the core's types.
 */
import type { MinerId, RunId } from "../../protocol/ids.ts";
import type { PayoutAddress } from "../../protocol/payout-address.ts";
import type { Receipt } from "../../protocol/receipt.ts";
import type { Account, Transfer } from "../ledger/ledger.ts";
import type { RunEvent } from "../orchestrator/core/event.ts";
import type { RunState } from "../orchestrator/core/state.ts";

export interface SignedReceipt {
  readonly receipt: Receipt;
  readonly signature: Uint8Array<ArrayBuffer>;
}

/** What one tick of the orchestrator writes: all of it or nothing. */
export interface Commit {
  readonly runId: RunId;
  /** In order; they are numbered on from the log's end. */
  readonly events: readonly RunEvent[];
  readonly transfers: readonly Transfer[];
  readonly receipts: readonly SignedReceipt[];
  /** The state after `events`. */
  readonly snapshot: RunState | null;
}

export interface StoredRun {
  /** The latest one that is unharmed. */
  readonly snapshot: RunState;
  /** What happened since, in order. */
  readonly events: readonly RunEvent[];
  /** Later snapshots that cannot be read any more. */
  readonly damagedSnapshots: number;
  /** When the last event happened, before the snapshot or since; null: nothing has happened yet. */
  readonly lastEventAtMs: number | null;
}

/** A run's log as it lies in the store, for whoever looks after it. */
export interface StoredLog {
  /** Oldest first. */
  readonly snapshots: readonly LogEntry<RunState>[];
  readonly events: readonly LogEntry<RunEvent>[];
}

export interface LogEntry<T> {
  /** Events count up from 1; a snapshot has the number of its last event. */
  readonly sequence: number;
  /** Null: damaged. */
  readonly value: T | null;
}

/** All methods reject with `FailureError`: state-corrupt when the files are damaged, disk-full. */
export interface Store {
  runIds(): Promise<readonly RunId[]>;
  /** Undefined for a run that has no snapshot yet. An event that is damaged or missing since the snapshot is state-corrupt. */
  loadRun(runId: RunId): Promise<StoredRun | undefined>;
  /** All that is kept, damaged or not. */
  readLog(runId: RunId): Promise<StoredLog>;
  /** Resolves when everything is on disk. A transfer whose reference is already entered is a bug and rejects. */
  commit(commit: Commit): Promise<void>;
  /** By run, of those that were given one. */
  weights(): Promise<ReadonlyMap<RunId, number>>;
  setWeight(runId: RunId, weight: number): Promise<void>;
  /** Forgets events, snapshots and weight; transfers and receipts stay. */
  deleteRun(runId: RunId): Promise<void>;
  /**
   * Where the miner wants to be paid; null: nowhere. Kept only for miners with a receipt, so that keys that never worked take no
   * room; for others nothing happens.
   */
  setPayoutAddress(minerId: MinerId, address: PayoutAddress | null): Promise<void>;
  payoutAddresses(): Promise<ReadonlyMap<MinerId, PayoutAddress>>;
  /** Enters transfers that belong to no event: payouts. All or none. */
  enter(transfers: readonly Transfer[]): Promise<void>;
  /** Of all accounts that ever had a transfer. */
  balances(): Promise<ReadonlyMap<Account, bigint>>;
  /** In order of entry. */
  transfers(): Promise<readonly Transfer[]>;
  /** Of one miner or of all, oldest first. */
  receipts(minerId?: MinerId): Promise<readonly SignedReceipt[]>;
  hasReceipts(minerId: MinerId): Promise<boolean>;
  close(): Promise<void>;
}
