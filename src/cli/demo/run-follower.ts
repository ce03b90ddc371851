/** Follows the run through the daemon of this computer's own miner, across restarts of that daemon. */
import { setTimeout as sleep } from "node:timers/promises";
import { liveDaemonIn } from "../../miner/find-daemon.ts";
import { connectLocalApi, type LocalApiClient } from "../../miner/local-api/client.ts";
import { type AppView, applyApiEvent } from "../../protocol/app-view.ts";
import { failureOf } from "../../protocol/failure.ts";
import type { DaemonAddress } from "../../protocol/local-api.ts";

const pollMs = 250;

export interface FollowerEvents {
  /** Called once per daemon: the first time, and whenever it was started again. */
  onDaemon(address: DaemonAddress): void;
  onView(view: AppView): void;
}

/** Goes on until `signal` is aborted. */
export async function followRun(folder: string, events: FollowerEvents, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const client = await connect(folder, events);
    if (client) await followDaemon(client, events, signal);
    else await sleep(pollMs, undefined, { signal }).catch(() => undefined); // aborted: the loop ends
  }
}

async function connect(folder: string, events: FollowerEvents): Promise<LocalApiClient | undefined> {
  const address = liveDaemonIn(folder);
  if (address === undefined) return undefined;
  try {
    const client = await connectLocalApi(address);
    events.onDaemon(address);
    return client;
  } catch (error) {
    if (failureOf(error) === undefined) throw error;
    return undefined; // it is starting, or has just gone
  }
}

async function followDaemon(client: LocalApiClient, events: FollowerEvents, signal: AbortSignal): Promise<void> {
  let view: AppView | null = null;
  client.subscribe((event) => {
    view = applyApiEvent(view, event);
    if (view) events.onView(view);
  });
  const close = () => client.close();
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  await client.closed;
  signal.removeEventListener("abort", close);
}
