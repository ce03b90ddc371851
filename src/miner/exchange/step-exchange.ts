/**
 * An optimizer step together with the other replicas of the stage: each takes its own step and sends what it moved to the others of its
 * group (`exchange-group.ts`), compressed with error feedback; all go on from the average, weighted by tokens.
 *
 * `lag` 0: they wait for each other. `lag` 1: the average takes the place of what one moved by oneself at the end of the next step only,
 * so that its transfer has a whole step's time. What that does to the weights is in `src/compute/step-exchange.ts`.
 *
 * It is best effort: who is lost, or does not answer for long, is stepped without, and the merge at the epoch's end repairs what has
 * drifted apart. The epoch's last step is not exchanged at all, since the merge follows at once.
 */
import { vectorPayloadBytes } from "../../compute/codec/vector.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { streamKey, threefry } from "../../compute/random.ts";
import type { StepContribution } from "../../compute/step-exchange.ts";
import { assertNever } from "../../protocol/assert-never.ts";
import {
  type ExchangeMessage,
  encodeExchange,
  exchangeParts,
  type MovedMessage,
} from "../../protocol/exchange-messages.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { Compression } from "../../protocol/run-config.ts";
import type { EpochOptions } from "../flow/epoch.ts";
import { exchangeGroup } from "./exchange-group.ts";
import { ExchangePeer, Patience } from "./exchange-peer.ts";
import { checkMoved, Movement, type MovementLimits } from "./movement.ts";
import { checkSignature, signedMovement } from "./signed-movement.ts";
import { mostTokensOf, withCountedTokens } from "./step-tokens.ts";

/** What this replica moved in a step, as it is sent. */
interface OwnMovement {
  readonly tokens: number;
  readonly messages: readonly Uint8Array[];
  /** Peers to whom it is still on its way out. */
  readonly leaving: Set<MinerId>;
}

/** A step whose average has not been taken yet. */
interface Round {
  readonly movements: Map<MinerId, Movement>;
  /** They will not send any. */
  readonly gone: Set<MinerId>;
  /** Whom it is exchanged with, and since when: null until this replica has taken the step itself. */
  begun: { readonly group: readonly MinerId[]; readonly atMs: number } | null;
}

interface Contribution extends StepContribution {
  readonly miner: MinerId;
}

/** A step is exchanged while its next one is under way, at most: peers may be so many steps ahead. */
const openSteps = 2;
/** Own movements that are kept for those who are behind. */
const keptSteps = 2;

export class StepExchange {
  readonly #options: EpochOptions;
  readonly #lag: 0 | 1;
  readonly #partLimits: MovementLimits["parts"];
  readonly #peers = new Map<MinerId, ExchangePeer>();
  readonly #own = new Map<number, OwnMovement>();
  readonly #rounds = new Map<number, Round>();
  /** Steps that this replica has taken, and steps that it has averaged. */
  #taken = 0;
  #averaged = 0;
  #isClosed = false;
  #waiting: (() => void)[] = [];

  constructor(options: EpochOptions, exchange: NonNullable<Compression["exchange"]>) {
    const { place, routes, signal } = options;
    const parts = exchangeParts(stageLayout(place.model, place.stage).length);
    this.#options = options;
    this.#lag = exchange.lag;
    this.#partLimits = parts.map(({ length }) => vectorPayloadBytes(exchange.codec, length));
    routes.onChange(() => this.#changed());
    signal.addEventListener("abort", () => this.#changed(), { once: true });
  }

  /** Takes the next step; `step` counts from 0. Rejects when the epoch is over. */
  async take(step: number): Promise<void> {
    const { place, compute } = this.#options;
    if (this.#lag === 1) await this.#average(step - 1);
    const isLast = step === place.training.stepsPerEpoch - 1;
    const group = isLast ? [] : this.#groupOf(step);
    if (group.length === 0) await compute.attempt("step", "step");
    else await this.#move(step, group);
    this.#taken = step + 1;
    if (this.#lag === 0 || group.length === 0) await this.#average(step);
    this.#forget();
  }

  /** There will be no more steps. */
  close(): void {
    this.#isClosed = true;
  }

  /** Throws `FailureError` (unexpected-message, bad-signature). */
  receive(from: MinerId, message: ExchangeMessage): void {
    const { place, self, routes } = this.#options;
    if (from === self || !routes.belongs(from, place.stage.index)) throw unexpected("an exchange with another stage");
    if (message.step >= place.training.stepsPerEpoch) throw unexpected("a step that the epoch does not have");
    switch (message.type) {
      case "moved":
        this.#takeIn(from, message);
        break;
      case "ask":
        this.#answer(from, message.step, message.part);
        break;
      case "pending":
        break;
      case "gone":
        this.#rounds.get(message.step)?.gone.add(from);
        break;
      default:
        assertNever(message);
    }
    this.#peer(from).heard();
    this.#changed();
  }

  #takeIn(from: MinerId, message: MovedMessage): void {
    const { step } = message;
    checkMoved(message, { parts: this.#partLimits, tokens: mostTokensOf(this.#options, from) });
    checkSignature(from, message, this.#options.transfers);
    const peer = this.#peer(from);
    peer.stepped(step);
    // What comes too late is of no use to anybody; what comes far too early is asked for when its time has come.
    if (step < this.#averaged || step >= this.#averaged + openSteps || !this.#groupOf(step).includes(from)) return;
    const { movements, begun } = this.#round(step);
    const movement = movements.get(from) ?? new Movement(message);
    const wasWhole = movements.has(from) && movement.isWhole;
    movement.take(message);
    movements.set(from, movement);
    if (movement.isWhole && !wasWhole) peer.came(begun === null ? 0 : this.#options.clock.nowMs() - begun.atMs);
  }

  #answer(to: MinerId, step: number, part: number): void {
    const own = this.#own.get(step);
    const isComing = own?.leaving.has(to) ?? (step >= this.#taken && !this.#isClosed);
    if (isComing) this.#say(to, step, "pending");
    else {
      const message = own?.messages[part];
      if (message === undefined) this.#say(to, step, "gone");
      else if (this.#peer(to).mayHaveAgain(step, part)) this.#send(to, message);
    }
  }

  /** This replica's own step, and what it moved on its way to the others. */
  async #move(step: number, group: readonly MinerId[]): Promise<void> {
    const { compute, clock, peers, react, signal, transfers } = this.#options;
    // What is not a number moves nothing.
    const moved = await compute.attempt("step", "stepDelta", { seed: this.#seed(step) });
    const { tokens, parts } = moved ?? { tokens: 0, parts: [] };
    const messages = signedMovement(this.#header(step), { tokens, payloads: tokens === 0 ? [] : parts }, transfers);
    const own: OwnMovement = { tokens, messages, leaving: new Set(group) };
    this.#own.set(step, own);
    this.#round(step).begun = { group, atMs: clock.nowMs() };
    for (const peer of group)
      react(async () => {
        for (const message of own.messages) await peers.send(peer, "exchange", message, signal);
        own.leaving.delete(peer);
      });
  }

  /** Puts the average in place of this replica's own movement, when all have come who will; if it was exchanged at all. */
  async #average(step: number): Promise<void> {
    const round = this.#rounds.get(step);
    if (round?.begun != null) await this.#averageWith(step, round, round.begun.group);
    this.#averaged = step + 1;
  }

  async #averageWith(step: number, round: Round, group: readonly MinerId[]): Promise<void> {
    const { compute, dropped } = this.#options;
    await Promise.all(group.map((peer) => this.#waitFor(step, round, peer)));
    const contributions = this.#contributions(step, round, group);
    const { malformed, outliers } = await compute.run("step", "applyExchange", {
      contributions: contributions.map(({ parts, tokens }) => ({ parts, tokens })),
    });
    for (const [index, { miner }] of contributions.entries()) {
      if (malformed.includes(index)) dropped(miner, "what its step moved cannot be read");
      if (outliers.includes(index)) dropped(miner, "what its step moved was left out of the average as an outlier");
    }
  }

  /** In one order everywhere, since sums of rounded numbers depend on it, and weighted by no more tokens than the step has. */
  #contributions(step: number, { movements }: Round, group: readonly MinerId[]): readonly Contribution[] {
    const { self } = this.#options;
    const claims = [self, ...group].toSorted().flatMap((miner): Contribution[] => {
      const movement = movements.get(miner);
      const tokens = miner === self ? this.#own.get(step)?.tokens : movement?.isWhole && movement.tokens;
      return tokens ? [{ miner, parts: movement?.payloads ?? null, tokens }] : [];
    });
    return withCountedTokens(claims, this.#options);
  }

  /** Until its movement is here, or will not come. */
  async #waitFor(step: number, round: Round, miner: MinerId): Promise<void> {
    const { routes, clock, place, signal } = this.#options;
    const peer = this.#peer(miner);
    const patience = new Patience(peer, clock.nowMs(), peer.newestStep > step);
    const isSettled = () => {
      const isHere = round.movements.get(miner)?.isWhole ?? false;
      return isHere || round.gone.has(miner) || routes.standing(miner, place.stage.index) === "gone";
    };
    while (!isSettled() && !peer.isAbsent) {
      if (!routes.isConnected) {
        patience.pause(clock.nowMs());
        await this.#sleep(null);
        continue;
      }
      const decision = patience.decide(clock.nowMs());
      if (decision === "give-up") break;
      if (decision === "ask") this.#ask(miner, step, round.movements.get(miner)?.missing ?? [0]);
      await this.#sleep(patience.dueAtMs - clock.nowMs());
    }
    signal.throwIfAborted();
  }

  #ask(miner: MinerId, step: number, missing: readonly number[]): void {
    for (const part of missing) this.#send(miner, encodeExchange({ ...this.#header(step), type: "ask", part }));
  }

  #say(to: MinerId, step: number, type: "pending" | "gone"): void {
    const { peers, react, signal } = this.#options;
    const answer = encodeExchange({ ...this.#header(step), type });
    react(() => this.#peer(to).answer(() => peers.send(to, "exchange", answer, signal)));
  }

  #send(to: MinerId, message: Uint8Array): void {
    const { peers, react, signal } = this.#options;
    react(() => peers.send(to, "exchange", message, signal));
  }

  /** Another one for every replica and step: what is rounded away adds up where it is always the same. */
  #seed(step: number): number {
    const { place, self } = this.#options;
    const words = { first: 0, second: 0 };
    threefry(words, streamKey(place.training.seed, `exchange ${place.at.epoch} ${place.at.attempt} ${self}`), step, 0);
    return words.first >>> 0;
  }

  #header(step: number) {
    const { epoch, attempt, stage } = this.#options.place.at;
    return { epoch, attempt, stage, step };
  }

  #groupOf(step: number): readonly MinerId[] {
    const { place, self, routes } = this.#options;
    return exchangeGroup(place.at, step, self, routes.expected(place.stage.index));
  }

  #round(step: number): Round {
    const round = this.#rounds.get(step) ?? { movements: new Map(), gone: new Set(), begun: null };
    this.#rounds.set(step, round);
    return round;
  }

  #peer(miner: MinerId): ExchangePeer {
    const peer = this.#peers.get(miner) ?? new ExchangePeer();
    this.#peers.set(miner, peer);
    return peer;
  }

  /** What nobody needs any more. */
  #forget(): void {
    for (const step of this.#rounds.keys()) if (step < this.#averaged) this.#rounds.delete(step);
    const firstKept = this.#taken - keptSteps;
    for (const step of this.#own.keys()) if (step < firstKept) this.#own.delete(step);
    for (const peer of this.#peers.values()) peer.forgetBefore(firstKept);
  }

  /** Until something has happened, or so much time has passed. Rejects when the epoch is over. */
  async #sleep(forMs: number | null): Promise<void> {
    const { clock, signal } = this.#options;
    signal.throwIfAborted();
    const woken = Promise.withResolvers<void>();
    this.#waiting.push(woken.resolve);
    const stopTimer = forMs === null ? () => {} : clock.after(forMs, woken.resolve);
    await woken.promise;
    stopTimer();
    signal.throwIfAborted();
  }

  #changed(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

function unexpected(what: string): FailureError {
  return new FailureError("unexpected-message", what);
}
