/** The shell's connection to a daemon, kept across restarts of that daemon; whoever subscribed gets a snapshot from the new one. */
import { setTimeout as sleep } from "node:timers/promises";
import { connectLocalApi, type LocalApiClient } from "../miner/local-api/client.ts";
import { FailureError, failureOf } from "../protocol/failure.ts";
import type {
  ApiEvent,
  CommandName,
  CommandParameters,
  CommandResult,
  DaemonAddress,
  LocalApi,
} from "../protocol/local-api.ts";

const retryMs = 500;

interface Subscription {
  readonly listener: (event: ApiEvent) => void;
  cancel: () => void;
}

export class DaemonLink implements LocalApi {
  readonly #findDaemon: () => Promise<DaemonAddress | undefined>;
  readonly #subscriptions = new Set<Subscription>();
  readonly #closing = new AbortController();
  #client: LocalApiClient | undefined;

  /** `findDaemon` is asked again whenever there is no connection. */
  constructor(findDaemon: () => Promise<DaemonAddress | undefined>) {
    this.#findDaemon = findDaemon;
  }

  /** Connects, and goes on connecting until it is closed. */
  async run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const client = await this.#connect();
      if (client === undefined)
        await sleep(retryMs, undefined, { signal }).catch(() => undefined); // closed: the loop ends
      else await this.#serve(client);
    }
  }

  async call<C extends CommandName>(command: C, parameters: CommandParameters<C>): Promise<CommandResult<C>> {
    if (this.#client) return this.#client.call(command, parameters);
    throw new FailureError("unreachable", "the daemon is not there; looking for it", { retry: true });
  }

  subscribe(listener: (event: ApiEvent) => void): () => void {
    const subscription: Subscription = { listener, cancel: this.#client?.subscribe(listener) ?? (() => undefined) };
    this.#subscriptions.add(subscription);
    return () => {
      this.#subscriptions.delete(subscription);
      subscription.cancel();
    };
  }

  close(): void {
    this.#closing.abort();
    this.#client?.close();
  }

  async #connect(): Promise<LocalApiClient | undefined> {
    try {
      const address = await this.#findDaemon();
      return address && (await connectLocalApi(address));
    } catch (error) {
      if (failureOf(error) === undefined) throw error;
      return undefined; // it is starting, or has just gone
    }
  }

  async #serve(client: LocalApiClient): Promise<void> {
    if (this.#closing.signal.aborted) {
      client.close();
      return;
    }
    this.#client = client;
    for (const subscription of this.#subscriptions) subscription.cancel = client.subscribe(subscription.listener);
    await client.closed;
    this.#client = undefined;
  }
}
