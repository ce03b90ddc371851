/** Shows what the miner's work amounts to: tokens, bytes, memory, credits. */
import type { Receipt } from "../protocol/messages.ts";
import { creditsOf } from "./credits.ts";
import { activityChange, machineChange } from "./local-api/app-state.ts";
import type { Feed } from "./local-api/feed.ts";
import { residentBytes } from "./machine.ts";
import type { Miner } from "./miner.ts";
import type { StateDatabase } from "./store/state-database.ts";

const activityMs = 500;
const memoryMs = 5000;

export interface Meter {
  /** Stores a receipt and counts it. */
  addReceipt(receipt: Receipt, signature: Uint8Array): void;
  start(): void;
  stop(): void;
}

export function createMeter(miner: Miner, feed: Feed, database: StateDatabase): Meter {
  let granted = database.receiptTotals();
  let latest = database.latestReceipt();
  let tokensAtReceipt = 0;
  let memoryBytes = process.memoryUsage.rss();
  let timers: readonly NodeJS.Timeout[] = [];

  function show(): void {
    const { activity, workers } = miner;
    const { state } = feed.view;
    const credits = creditsOf(granted, latest, {
      tokensPerSecond: activity.tokensPerSecond,
      tokensSinceReceipt: activity.tokensBackward - tokensAtReceipt,
    });
    feed.apply(machineChange(state, { workers }));
    feed.apply(activityChange(state, activity, memoryBytes));
    feed.apply({ urgent: false, set: { credits }, append: {} });
  }

  async function weigh(): Promise<void> {
    memoryBytes = await residentBytes(miner.workers);
  }

  return {
    addReceipt(receipt, signature) {
      database.addReceipt(receipt, signature);
      granted = database.receiptTotals();
      latest = database.latestReceipt();
      tokensAtReceipt = miner.activity.tokensBackward;
      show();
    },
    start() {
      show();
      timers = [setInterval(show, activityMs), setInterval(() => void weigh(), memoryMs)];
    },
    stop() {
      for (const timer of timers) clearInterval(timer);
    },
  };
}
