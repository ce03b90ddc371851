/**
 * The part of a stage behind the first: it takes microbatches as it has room, answers for each, brings it to its end (`middle.ts`,
 * `last.ts`), sends the gradient back, and steps when the sources have flushed.
 */
import { channelsBefore } from "../../compute/model/parts.ts";
import type { AnsweredKind } from "../../protocol/answer.ts";
import { assertNever } from "../../protocol/assert-never.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { Epoch, Role } from "./epoch.ts";
import { type Held, HeldMicrobatches } from "./held-microbatches.ts";
import type { Received } from "./inbound.ts";
import type { Returned } from "./onward.ts";
import { StepGate } from "./step-gate.ts";

/** What a stage does with a microbatch. */
export interface Carrier {
  /** Resolves with what goes back to the stage before, or with null: the microbatch is lost. */
  carry(held: Held): Promise<Returned | null>;
  /** A gradient came back, which is to be answered. */
  returned(from: MinerId, message: Received): void;
  /** A replica of the next stage will not bring it to its end. */
  lost(from: MinerId, microbatch: number): void;
  /** Its step is over before it was carried. */
  giveUp(held: Held): void;
}

export class LaterStage implements Role {
  readonly #epoch: Epoch;
  readonly #held: HeldMicrobatches;
  readonly #gate: StepGate;
  readonly #carrier: Carrier;
  #isStepping = false;

  constructor(epoch: Epoch, makeCarrier: (isHeld: (held: Held) => boolean) => Carrier) {
    const { place, room, routes, react } = epoch.options;
    const { maximumStaleness, stepsPerEpoch } = place.training;
    this.#epoch = epoch;
    this.#held = new HeldMicrobatches(room, maximumStaleness);
    this.#gate = new StepGate(routes, stepsPerEpoch);
    this.#carrier = makeCarrier((held) => this.#held.isHeld(held));
    routes.onChange(() => react(() => this.#stepWhenOver()));
  }

  /** Everything happens when messages come. */
  async run(): Promise<void> {}

  windDown(): void {
    this.#held.close();
  }

  receive(from: MinerId, kind: AnsweredKind, message: Received): void {
    switch (kind) {
      case "forward":
        this.#admit(from, message);
        return;
      case "backward":
        this.#carrier.returned(from, message);
        return;
      case "flush":
        this.#gate.flush(from, message.step);
        this.#epoch.answer(from, "flush", message, "accepted");
        this.#epoch.options.react(() => this.#stepWhenOver());
        return;
      default:
        assertNever(kind);
    }
  }

  lost(from: MinerId, microbatch: number): void {
    this.#carrier.lost(from, microbatch);
  }

  #admit(from: MinerId, message: Received): void {
    const { verdict, held } = this.#held.admit(message);
    this.#epoch.answer(from, "forward", message, verdict);
    if (held?.state === "done") this.#sendBack(held);
    this.#carryDue();
  }

  #carryDue(): void {
    for (const held of this.#held.takeDue()) this.#epoch.options.react(() => this.#carry(held));
  }

  async #carry(held: Held): Promise<void> {
    this.#epoch.inFlight(1);
    const returned = await this.#carrier.carry(held);
    this.#epoch.inFlight(-1);
    held.state = returned === null ? "lost" : "done";
    held.returned = returned;
    if (returned === null) this.#epoch.tally.microbatchesLost += 1;
    if (this.#held.isHeld(held)) {
      if (returned !== null) this.#sendBack(held);
      else this.#epoch.answer(previousOf(held), "forward", held.message, "lost");
    }
    this.#carryDue();
  }

  #sendBack(held: Held): void {
    const { message, returned } = held;
    if (returned === null) return;
    const { deliveries, options } = this.#epoch;
    const { index } = options.place.stage;
    options.react(async () => {
      // Whoever is gone by now will be replaced, and its substitute asks for the gradient.
      await deliveries.deliver(previousOf(held), "backward", {
        ...message,
        stage: index - 1,
        path: [...message.path, ...returned.path.slice(index)],
        columns: channelsBefore(options.place.model, options.place.stage.fromLayer),
        origin: returned.origin,
        payload: returned.gradient,
      });
    });
  }

  /** Once for each step that is over: several may be, for who missed some of the markers. */
  async #stepWhenOver(): Promise<void> {
    const { place } = this.#epoch.options;
    if (this.#isStepping || place.training.mode === "sync") return;
    this.#isStepping = true;
    while (this.#gate.isOver(this.#epoch.stepsTaken)) {
      await this.#epoch.step();
      for (const held of this.#held.endStep()) this.#carrier.giveUp(held);
      this.#carryDue();
    }
    this.#isStepping = false;
  }
}

function previousOf({ message }: Held): MinerId {
  const previous = message.path.at(-1);
  if (previous === undefined) throw new Error("a microbatch that came from nowhere");
  return previous;
}
