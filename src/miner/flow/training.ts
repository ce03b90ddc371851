/** One attempt at an epoch's training, between `start` and `upload`: gives the replica its role and feeds it its messages. */
import type { Answer, AnsweredKind } from "../../protocol/answer.ts";
import type { ExchangeMessage } from "../../protocol/exchange-messages.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { Trained } from "../merge/merge-acts.ts";
import { Epoch, type EpochOptions, type Role, type Tally } from "./epoch.ts";
import { checkInbound } from "./inbound.ts";
import { Last } from "./last.ts";
import { LaterStage } from "./later-stage.ts";
import { Middle } from "./middle.ts";
import { holdsFirstStage, holdsLastStage } from "./place.ts";
import { Source } from "./source.ts";

export class Training {
  readonly #epoch: Epoch;
  readonly #role: Role;

  constructor(options: EpochOptions) {
    this.#epoch = new Epoch(options);
    this.#role = roleIn(this.#epoch);
    options.signal.addEventListener("abort", () => this.#clearActivity(), { once: true });
  }

  get tally(): Readonly<Tally> & { readonly messagesDamaged: number } {
    return { ...this.#epoch.tally, messagesDamaged: this.#epoch.options.transfers.damaged };
  }

  /** A step that was skipped makes fewer tokens count than were seen; their mean loss is the best that can be said. */
  get trained(): Trained {
    const { place, compute } = this.#epoch.options;
    const { lossSumNats, tokensBackward } = this.#epoch.tally;
    const meanLossNats = holdsLastStage(place) && tokensBackward > 0 ? lossSumNats / tokensBackward : null;
    return { meanLossNats, computeMs: Math.round(compute.busyMs), boundary: this.#epoch.boundary };
  }

  /** Settles when this replica has begun all that it has to begin: a source's steps are done then. */
  run(): Promise<void> {
    return this.#role.run();
  }

  /** Takes and begins nothing new; resolves when what was begun has come to its end. */
  async windDown(): Promise<void> {
    this.#role.windDown();
    await this.#epoch.idle();
  }

  /** Takes what another replica sent, about this epoch. Throws `FailureError` (unexpected-message, bad-signature) unless it is in order. */
  receive(from: MinerId, kind: AnsweredKind, message: MicrobatchMessage): void {
    this.#role.receive(from, kind, checkInbound(from, kind, message, this.#epoch.options));
  }

  /** Takes what another replica of the stage says of a step. Throws likewise. */
  receiveExchange(from: MinerId, message: ExchangeMessage): void {
    this.#epoch.exchange?.receive(from, message);
  }

  answered(from: MinerId, answer: Answer): void {
    if (this.#epoch.deliveries.answered(from, answer)) return;
    if (answer.about === "forward" && answer.verdict === "lost") this.#role.lost(from, answer.microbatch);
  }

  #clearActivity(): void {
    this.#epoch.options.activity.microbatchesInFlight -= this.#epoch.tally.microbatchesInFlight;
  }
}

function roleIn(epoch: Epoch): Role {
  const { place } = epoch.options;
  if (holdsFirstStage(place)) return new Source(epoch);
  return new LaterStage(epoch, (isHeld) => (holdsLastStage(place) ? new Last(epoch) : new Middle(epoch, isHeld)));
}
