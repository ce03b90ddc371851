/** Looks at a network, and commands to it, without taking part. */
import { FailureError } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import { createIdentity, type Identity } from "../../protocol/identity.ts";
import type { RunId } from "../../protocol/ids.ts";
import { parseNetworkAddress } from "../../protocol/network-address.ts";
import type { OwnerCommand } from "../../protocol/owner-commands.ts";
import type { RunSummary, RunUpdate, RunView } from "../../protocol/run-view.ts";
import { agentFor } from "../../transport/pinned-agent.ts";
import { Traffic } from "../../transport/traffic/traffic.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Connection, type Welcome } from "./connection.ts";
import { OwnerCommands } from "./owner-commands.ts";

/** A run's view and its lists in full, as the gateway sends them first. */
export type WholeRun = RunUpdate & { readonly view: RunView };

export interface ObservedNetwork {
  readonly runs: readonly RunSummary[];
  readonly details: ReadonlyMap<RunId, WholeRun>;
}

/** All runs of a network as they are at this moment. Rejects with `FailureError`: unreachable, timed-out, or as refused. */
export function observeRuns(url: string, clock: Clock = systemClock): Promise<ObservedNetwork> {
  // Under a key that is forgotten afterwards.
  return visit<ObservedNetwork>(url, createIdentity(), clock, (_, resolve) => {
    let runs: readonly RunSummary[] | undefined;
    const details = new Map<RunId, WholeRun>();
    return {
      message: (message) => {
        if (message.type === "runs") runs ??= message.runs;
        if (message.type === "run-update" && message.update.view !== undefined && !details.has(message.update.runId))
          details.set(message.update.runId, { ...message.update, view: message.update.view });
        if (runs?.every(({ runId }) => details.has(runId))) resolve({ runs, details });
      },
    };
  });
}

/** Resolves with the run that the command was about. Rejects with `FailureError`: as `observeRuns`, or why it is not done. */
export function commandNetwork(
  url: string,
  identity: Identity,
  command: OwnerCommand,
  clock: Clock = systemClock,
): Promise<RunId> {
  return visit<RunId>(url, identity, clock, (connection, resolve, reject) => {
    const commands = new OwnerCommands((message) => connection.send(message));
    return {
      opened: () => void commands.call(command).then(resolve, reject),
      message: (message) => {
        if (message.type === "owner-answer") commands.answered(message);
      },
    };
  });
}

/** For the session to open. */
const openMs = 8000;

interface Visitor {
  readonly opened?: (welcome: Welcome) => void;
  readonly message?: (message: GatewayMessage) => void;
}

/**
 * A session as an observer, from opening until the visitor has what it came for. Rejects with `FailureError`: unreachable, timed-out,
 * bad-signature where the gateway is another one, or as refused.
 */
export async function visit<T>(
  networkAddress: string,
  identity: Identity,
  clock: Clock,
  createVisitor: (connection: Connection, resolve: (value: T) => void, reject: (error: unknown) => void) => Visitor,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const { url, networkId, certificateSha256 } = parseNetworkAddress(networkAddress);
  const connection: Connection = new Connection(
    { url, networkId, agent: agentFor(certificateSha256) },
    { identity, name: "observer", role: "observer" },
    {
      opened: (welcome) => {
        stopWaiting();
        visitor.opened?.(welcome);
      },
      message: (message) => visitor.message?.(message),
      frameDropped: () => undefined,
      closed: ({ code, message, action, retry }) => {
        const advice = action || "Check the address, and that the network runs.";
        reject(new FailureError(code, `${url}: ${message}`, { action: advice, retry }));
      },
    },
    clock,
    new Traffic(clock),
  );
  const visitor = createVisitor(connection, resolve, reject);
  const stopWaiting = clock.after(openMs, () => {
    const action = "Check the address, and that its computer is on; a firewall in between may drop what is sent there.";
    reject(new FailureError("timed-out", `${url}: Nothing answers there.`, { action, retry: true }));
  });
  try {
    return await promise;
  } finally {
    stopWaiting();
    connection.close();
  }
}
