/** Watches the run as any observer may, past all proxies and across restarts of the orchestrator. */

import { systemClock } from "../../../src/miner/session/clock.ts";
import { Session } from "../../../src/miner/session/session.ts";
import { createIdentity } from "../../../src/protocol/identity.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import type { EpochRecord, Evaluation, RunUpdate, RunView, Telemetry } from "../../../src/protocol/run-view.ts";
import { Traffic } from "../../../src/transport/traffic/traffic.ts";

export class RunWatcher {
  view: RunView | null = null;
  telemetry: Telemetry | null = null;
  /** In order. */
  readonly epochs: EpochRecord[] = [];
  readonly evaluations: Evaluation[] = [];
  /** The most that each miner was ever shown to have, in micro-credits. */
  readonly credits = new Map<MinerId, number>();
  /** Epochs that were shown once, and later otherwise. */
  readonly contradictions: string[] = [];
  readonly #session: Session;
  #changed = Promise.withResolvers<void>();

  constructor(url: URL) {
    const credentials = { identity: createIdentity(), name: "watcher", role: "observer" } as const;
    this.#session = new Session(
      { url: url.href, credentials, clock: systemClock, traffic: new Traffic(systemClock), log: () => undefined },
      {
        opened: () => undefined,
        message: (message) => message.type === "run-update" && this.#update(message.update),
        lost: () => undefined,
      },
    );
    this.#session.open();
  }

  /** Waits until something is so of the run; false when it is not within that time. */
  async until(isSo: () => boolean, withinMs: number): Promise<boolean> {
    const deadlineMs = performance.now() + withinMs;
    while (!isSo()) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) return false;
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, leftMs);
      await Promise.race([this.#changed.promise, late]);
      clearTimeout(timer);
    }
    return true;
  }

  close(): void {
    this.#session.close();
  }

  #update({ view, epochs = [], evaluations = [], telemetry }: RunUpdate): void {
    if (view !== undefined) this.#show(view);
    if (telemetry !== undefined) this.telemetry = telemetry;
    for (const record of epochs) this.#recordEpoch(record);
    for (const evaluation of evaluations)
      if (evaluation.epoch > (this.evaluations.at(-1)?.epoch ?? -1)) this.evaluations.push(evaluation);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #show(view: RunView): void {
    this.view = view;
    for (const [miner, microCredits] of Object.entries(view.credits)) {
      const minerId = miner as MinerId;
      this.credits.set(minerId, Math.max(microCredits, this.credits.get(minerId) ?? 0));
    }
  }

  #recordEpoch(record: EpochRecord): void {
    const known = this.epochs.find(({ epoch }) => epoch === record.epoch);
    if (known === undefined) this.epochs.push(record);
    else if (JSON.stringify(known) !== JSON.stringify(record))
      this.contradictions.push(`epoch ${record.epoch} was shown as ended before, and otherwise`);
  }
}
