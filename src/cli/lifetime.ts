/** How a long-running command learns that it should end, on every platform. */
import { FailureError } from "../protocol/failure.ts";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Resolves once, with the reason in words: a signal came, or the process that started this one over a channel has closed it or died.
 * Further signals change nothing: ending is bounded in time anyway.
 */
export function untilStopped(): Promise<string> {
  const { promise: abandoned, resolve } = Promise.withResolvers<string>();
  if (process.channel) {
    process.once("disconnect", () => resolve("the process that started this one has closed its channel"));
    process.channel.unref();
  }
  return Promise.race([untilSignal(), abandoned]);
}

/** For work that ends by itself, and can be given up: aborts at a signal, with a `FailureError` (cancelled) that says `outcome`, and why. */
export function cancelledWhenStopped(outcome: string): AbortSignal {
  const stopping = new AbortController();
  void untilSignal().then((reason) => stopping.abort(new FailureError("cancelled", `${outcome}: ${reason}.`)));
  return stopping.signal;
}

function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, () => resolve(`asked to stop (${signal})`));
  });
}
