/** Tells the network what this miner's link was measured to carry: when that has changed, and seldom. */

import type { ClientMessage } from "../../protocol/client-messages.ts";
import type { LinkReport } from "../../protocol/link-report.ts";
import type { Clock } from "./clock.ts";

const everyMs = 10_000;
/** What is measured scatters; only more is news. */
const newsFactor = 1.2;

export interface LinkReportsOptions {
  readonly clock: Clock;
  readonly measure: () => LinkReport;
  readonly send: (message: ClientMessage) => boolean;
}

export class LinkReports {
  readonly #options: LinkReportsOptions;
  /** In this session. */
  #told: LinkReport | null = null;
  #cancelAlarm = () => {};

  constructor(options: LinkReportsOptions) {
    this.#options = options;
  }

  /** A session was opened: it knows nothing yet. */
  opened(): void {
    this.#told = null;
    this.#look();
  }

  lost(): void {
    this.#cancelAlarm();
  }

  #look(): void {
    const { clock, measure, send } = this.#options;
    this.#cancelAlarm();
    this.#cancelAlarm = clock.after(everyMs, () => this.#look());
    const measured = measure();
    if (isNews(measured, this.#told) && send({ type: "link", ...measured })) this.#told = measured;
  }
}

/** Nothing is no news, also after something: a link does not change by being idle. */
function isNews(measured: LinkReport, told: LinkReport | null): boolean {
  const figures = ["upBytesPerSecond", "downBytesPerSecond", "roundTripMs"] as const;
  return figures.some((figure) => {
    const [now, before] = [measured[figure], told?.[figure] ?? null];
    if (now === null) return false;
    return before === null || Math.max(now, before) > newsFactor * Math.min(now, before);
  });
}
