/** Steering a run: there is no reply to it but the run's next view, or a refusal. */
import { type Failure, FailureError } from "../../protocol/failure.ts";
import type { RunId } from "../../protocol/ids.ts";
import type { ClientMessage } from "../../protocol/messages.ts";
import type { RunUpdate } from "../../protocol/run-view.ts";
import type { Clock } from "./clock.ts";

type SteerAction = Extract<ClientMessage, { type: "steer" }>["action"];

/** A run that is as asked already does not change, so silence is consent. */
const consentMs = 1500;

interface Pending {
  readonly runId: RunId;
  readonly resolve: () => void;
  readonly reject: (error: FailureError) => void;
}

export class Steering {
  readonly #send: (message: ClientMessage) => boolean;
  readonly #clock: Clock;
  readonly #pending = new Set<Pending>();

  /** `send` answers whether there is a session. */
  constructor(send: (message: ClientMessage) => boolean, clock: Clock) {
    this.#send = send;
    this.#clock = clock;
  }

  /** Rejects with `FailureError`: unreachable, or as the network refused. */
  async steer(runId: RunId, action: SteerAction): Promise<void> {
    if (!this.#send({ type: "steer", runId, action })) throw noSession();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const pending = { runId, resolve, reject };
    this.#pending.add(pending);
    const cancelConsent = this.#clock.after(consentMs, resolve);
    await promise.finally(() => {
      cancelConsent();
      this.#pending.delete(pending);
    });
  }

  updated({ runId, view }: RunUpdate): void {
    if (view === undefined) return;
    for (const pending of this.#pending) if (pending.runId === runId) pending.resolve();
  }

  refused({ code, message, action, retry }: Failure): void {
    for (const pending of this.#pending) pending.reject(new FailureError(code, message, { action, retry }));
  }

  lost(): void {
    for (const pending of this.#pending) pending.reject(noSession());
  }
}

function noSession(): FailureError {
  return new FailureError("unreachable", "There is no connection to the network.", { retry: true });
}
