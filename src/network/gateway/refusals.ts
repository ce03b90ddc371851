/** Counts what the gateway refuses, by its reason: an attack shows here, and in the log once a minute. */
import type { FailureCode } from "../../protocol/failure.ts";

export type RefusalCounts = Readonly<Partial<Record<FailureCode, number>>>;

export class Refusals {
  #counts: Partial<Record<FailureCode, number>> = {};
  #reported: RefusalCounts = {};

  count(code: FailureCode): void {
    this.#counts[code] = (this.#counts[code] ?? 0) + 1;
  }

  /** Since the gateway began. */
  get counts(): RefusalCounts {
    return { ...this.#counts };
  }

  /** Tells what came since the last report, in one line; nothing when nothing did. */
  report(log: (text: string) => void): void {
    const codes = Object.keys(this.#counts) as readonly FailureCode[];
    const since = (code: FailureCode) => (this.#counts[code] ?? 0) - (this.#reported[code] ?? 0);
    const news = codes.filter((code) => since(code) > 0).map((code) => `${since(code)} ${code}`);
    this.#reported = this.counts;
    if (news.length > 0) log(`refused since the last report: ${news.join(", ")}`);
  }
}
