/** How a long-running command learns that it should end, on every platform. */

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
