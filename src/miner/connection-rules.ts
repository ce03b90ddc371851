/** What this machine's owner allows of its connection, as it is now: what the daemon was started with, and what was changed since. */
import type { ConnectionRules } from "../protocol/machine-view.ts";
import type { TrafficLimits } from "../transport/traffic/traffic.ts";
import { storeSettings } from "./store/settings.ts";

const bytesPerMegabit = 125_000;

export class ConnectionRulesInForce {
  readonly #stateFolder: string;
  #rules: ConnectionRules;

  constructor({ maxUploadMbps, maxDownloadMbps, onMetered }: ConnectionRules, stateFolder: string) {
    this.#stateFolder = stateFolder;
    this.#rules = { maxUploadMbps, maxDownloadMbps, onMetered };
  }

  get rules(): ConnectionRules {
    return this.#rules;
  }

  /** In bytes per second. */
  get limits(): TrafficLimits {
    const { maxUploadMbps, maxDownloadMbps } = this.#rules;
    return { upload: bytesOf(maxUploadMbps), download: bytesOf(maxDownloadMbps) };
  }

  /** Stores what changes, for the next start too. Throws `FailureError` invalid-config, disk-full, file-unreadable: then nothing has changed. */
  change(changes: Partial<ConnectionRules>): void {
    storeSettings(this.#stateFolder, changes);
    this.#rules = { ...this.#rules, ...changes };
  }
}

function bytesOf(megabits: number | null): number | null {
  return megabits === null ? null : megabits * bytesPerMegabit;
}
