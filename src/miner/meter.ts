/** Shows what the miner's work amounts to: tokens, bytes, memory, credits; and keeps what must outlive it. */
import type { RunId } from "../protocol/ids.ts";
import type { Receipt } from "../protocol/receipt.ts";
import type { TrafficTotals } from "../transport/traffic/traffic.ts";
import { creditsOf } from "./credits.ts";
import { activityChange, machineChange } from "./local-api/app-state.ts";
import type { Feed } from "./local-api/feed.ts";
import type { Log } from "./log.ts";
import { residentBytes } from "./machine.ts";
import type { Miner } from "./miner.ts";
import type { StateDatabase } from "./store/state-database.ts";
import { TrafficBook } from "./traffic-book.ts";

const activityMs = 500;
const memoryMs = 5000;

export interface Meter {
  /** Counts a receipt, and resolves when it is on the disk. Rejects when it cannot be stored. */
  addReceipt(receipt: Receipt, signature: Uint8Array): Promise<void>;
  /** The run that the miner works for from now on. */
  assigned(run: RunId | null): void;
  start(): void;
  stop(): void;
}

export function createMeter(miner: Miner, feed: Feed, database: StateDatabase, log: Log): Meter {
  const book = new TrafficBook(database);
  let granted = database.receiptTotals();
  let latest = database.latestReceipt();
  let tokensAtReceipt = 0;
  let memoryBytes = process.memoryUsage.rss();
  let timers: readonly NodeJS.Timeout[] = [];

  /** A full disk, most likely: what is counted is kept in memory, and training must go on. */
  function tryToWrite(write: () => void): void {
    try {
      write();
    } catch (error) {
      log.write(
        "error",
        "daemon",
        `the traffic could not be stored: ${error instanceof Error ? error.message : error}`,
      );
    }
  }

  function traffic(): TrafficTotals {
    const { bytesSent: sentBytes, bytesReceived: receivedBytes } = miner.activity;
    return { sentBytes, receivedBytes };
  }

  function show(): void {
    const { activity, workers } = miner;
    const { state } = feed.view;
    const credits = creditsOf(granted, latest, {
      tokensPerSecond: activity.tokensPerSecond,
      tokensSinceReceipt: activity.tokensBackward - tokensAtReceipt,
    });
    feed.apply(machineChange(state, { workers }));
    feed.apply(activityChange(state, activity, memoryBytes));
    tryToWrite(() => book.update(traffic()));
    feed.apply({
      urgent: false,
      set: { credits, traffic: { ...book.view, sentFrames: miner.sentFrames, link: miner.link, peers: miner.peers } },
      append: {},
    });
  }

  async function weigh(): Promise<void> {
    memoryBytes = await residentBytes(miner.workers);
  }

  return {
    async addReceipt(receipt, signature) {
      const stored = database.addReceipt(receipt, signature);
      granted = database.receiptTotals();
      latest = database.latestReceipt();
      tokensAtReceipt = miner.activity.tokensBackward;
      show();
      await stored;
    },
    assigned(run) {
      book.assigned(run, traffic());
    },
    start() {
      show();
      timers = [setInterval(show, activityMs), setInterval(() => void weigh(), memoryMs)];
    },
    stop() {
      for (const timer of timers) clearInterval(timer);
      tryToWrite(() => book.update(traffic()));
      tryToWrite(() => book.store());
    },
  };
}
