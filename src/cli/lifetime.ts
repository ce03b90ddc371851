/** How a long-running command learns that it should end, on every platform. */
import { FailureError } from "../protocol/failure.ts";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Resolves once, with the reason in words: a signal came, or the process that started this one over a channel has closed it or died.
 * Further signals change nothing: ending is bounded in time anyway.
 */
export function untilStopped(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, () => resolve(`asked to stop (${signal})`));
    if (!process.channel) return;
    process.once("disconnect", () => resolve("the process that started this one has closed its channel"));
    process.channel.unref();
  });
}

/** For work that can be given up: aborts with a `FailureError` (cancelled) that says `outcome`, and why. */
export function cancelledWhenStopped(outcome: string): AbortSignal {
  const stopping = new AbortController();
  void untilStopped().then((reason) => stopping.abort(new FailureError("cancelled", `${outcome}: ${reason}.`)));
  return stopping.signal;
}
