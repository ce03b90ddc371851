/** Commands of a network's owner, each with the network's answer to it. */

import type { ClientMessage } from "../../protocol/client-messages.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import type { RunId } from "../../protocol/ids.ts";
import type { OwnerCommand } from "../../protocol/owner-commands.ts";

interface Pending {
  readonly resolve: (runId: RunId) => void;
  readonly reject: (error: FailureError) => void;
}

export class OwnerCommands {
  readonly #send: (message: ClientMessage) => boolean;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;

  /** `send` answers whether there is a session. */
  constructor(send: (message: ClientMessage) => boolean) {
    this.#send = send;
  }

  /** Resolves with the run that it was about. Rejects with `FailureError`: unreachable, or why the network does not do it. */
  call(command: OwnerCommand): Promise<RunId> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<RunId>();
    if (this.#send({ type: "owner-command", id, command })) this.#pending.set(id, { resolve, reject });
    else reject(new FailureError("unreachable", "There is no connection to the network.", { retry: true }));
    return promise;
  }

  answered({ id, answer }: Extract<GatewayMessage, { type: "owner-answer" }>): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (answer.ok) pending?.resolve(answer.runId);
    else {
      const { code, message, action, retry } = answer.failure;
      pending?.reject(new FailureError(code, message, { action, retry }));
    }
  }

  /** The session is over: whether the network has done it cannot be known. */
  lost(): void {
    const failure = new FailureError("unreachable", "The connection was lost before the network answered.", {
      action: "See by tah run list whether it was done.",
      retry: true,
    });
    for (const { reject } of this.#pending.values()) reject(failure);
    this.#pending.clear();
  }
}
