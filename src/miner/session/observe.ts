/** A look at a network without taking part: what its run is at this moment. */
import { FailureError } from "../../protocol/failure.ts";
import { createIdentity } from "../../protocol/identity.ts";
import type { RunUpdate, RunView } from "../../protocol/run-view.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Connection } from "./connection.ts";

/** The run's view and its lists in full, as the gateway sends them first. */
export type WholeRun = RunUpdate & { readonly view: RunView };

/**
 * Opens a session as an observer under a key that is forgotten afterwards, and closes it when the run has arrived. Rejects with
 * `FailureError`: unreachable, timed-out, or as the gateway refused.
 */
export function observeRun(url: string, clock: Clock = systemClock): Promise<WholeRun> {
  const { promise, resolve, reject } = Promise.withResolvers<WholeRun>();
  const connection = new Connection(
    url,
    { identity: createIdentity(), name: "observer", role: "observer" },
    {
      opened: () => undefined,
      message: (message) => {
        if (message.type !== "run-update" || message.update.view === undefined) return;
        resolve({ ...message.update, view: message.update.view });
        connection.close();
      },
      frameDropped: () => undefined,
      closed: ({ code, message, action, retry }) => {
        const advice = action || "Check the address, and that the network runs.";
        reject(new FailureError(code, `${url}: ${message}`, { action: advice, retry }));
      },
    },
    clock,
  );
  return promise;
}
