/**
 * A replica's life, as `docs/protocol.md` tells it: prepare → ready → start … source-done → upload → contributed → reduce → reduced →
 * apply → merged, and again. This file leads it from act to act; `epoch-acts.ts` and `../merge` say
 * what it does in each. It keeps its phase and its state through lost sessions.
 */
import { stageLayout } from "../../compute/model/layout.ts";
import type { Answer, AnsweredKind, Verdict } from "../../protocol/answer.ts";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import type { ExchangeMessage } from "../../protocol/exchange-messages.ts";
import type { Failure } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import { type BlobHash, type MinerId, samePlace } from "../../protocol/ids.ts";
import { encodeBody, type MergeMessage } from "../../protocol/merge-messages.ts";
import type { MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import { ErrorFeedbackKeeper } from "../merge/error-feedback-keeper.ts";
import { MergeActs, type Trained } from "../merge/merge-acts.ts";
import { PastMerges } from "../merge/past-merges.ts";
import { EpochActs, type ReplicaOptions } from "./epoch-acts.ts";
import { keepStart } from "./kept-start.ts";
import type { Phase } from "./phase.ts";
import { PhaseKeeper } from "./phase-keeper.ts";
import { isOlder, type Place } from "./place.ts";
import { crash, failureFrom } from "./recovery.ts";
import { type Pauses, Repetition } from "./repetition.ts";
import type { Routes } from "./routes.ts";
import { Holding } from "./starting-state.ts";

/** Messages that lead a replica through an epoch. */
export type EpochMessage = Extract<GatewayMessage, { type: "start" | "roster" | "upload" | "reduce" | "apply" }>;

export interface ReplicaListener {
  changed(): void;
  /** It lost what it held. */
  failed(failure: Failure): void;
  /** An epoch was brought to its end. */
  merged(): void;
}

/** One message in a hundred is lost on a bad link, and a whole stage waits for it: the first time soon. */
const reportPauses: Pauses = { firstMs: 1000, longestMs: 5000 };
/** Who trains has nothing to report; but when nothing comes any more, what should have come next may be lost. */
const silencePauses: Pauses = { firstMs: 15_000, longestMs: 15_000 };
const reports: readonly ClientMessage["type"][] = ["ready", "source-done", "contributed", "reduced", "merged"];
const handsOver: readonly Phase["kind"][] = ["training", "uploading", "merging"];
const nothingTrained: Trained = { meanLossNats: null, computeMs: 0, boundary: null };

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #phases: PhaseKeeper;
  readonly #epochActs: EpochActs;
  readonly #mergeActs: MergeActs;
  readonly #errorFeedback: ErrorFeedbackKeeper;
  readonly #pastMerges: PastMerges;
  readonly #report: Repetition;
  readonly #listener: ReplicaListener;
  readonly #holding = new Holding();
  #routes: Routes | null = null;
  #trained = nothingTrained;
  /** The last report, in as many messages as it took. */
  #said: readonly ClientMessage[] = [];
  #askedOutOfTurnMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReplicaOptions, place: Place, listener: ReplicaListener) {
    this.#options = options;
    this.#listener = listener;
    this.#report = new Repetition(options.clock);
    this.#phases = new PhaseKeeper(
      { kind: "ended", place },
      { entered: (phase) => this.#entered(phase), failed: (error) => this.#failed(failureFrom(error)) },
    );
    const repeating = { ...options, send: (message: ClientMessage) => this.#send(message) };
    this.#errorFeedback = new ErrorFeedbackKeeper(options);
    const { length: parameters } = stageLayout(place.model, place.stage);
    this.#pastMerges = new PastMerges(options, place.training, parameters);
    this.#epochActs = new EpochActs(repeating, this.#phases, this.#holding, this.#errorFeedback);
    this.#mergeActs = new MergeActs(
      {
        ...repeating,
        pastMerges: this.#pastMerges,
        tell: (to: MinerId, message: MergeMessage) => void options.peers.send(to, "merge", encodeBody(message)),
        isLive: (miner: MinerId) => this.#isLive(miner),
      },
      this.#phases,
      this.#holding,
      () => {
        this.#errorFeedback.merged(this.#place, this.#holding.loaded);
        listener.merged();
      },
    );
    options.engines.onCrash((message) => this.#failed(crash(message)));
  }

  get phase(): Phase {
    return this.#phases.phase;
  }

  get #place(): Place {
    return this.#phases.phase.place;
  }

  /** The engine, if it holds an epoch's start with these weights, and has not trained on it. */
  engineHolding(weightsHash: BlobHash): ComputeEngine | null {
    const held = this.#holding.current;
    return held !== null && held.epoch !== null && held.weightsHash === weightsHash ? held.engine : null;
  }

  connected(): void {
    this.#routes?.connected();
    this.#mergeActs.lookAgain();
  }

  /** What the network may have missed in a session that was lost. */
  sayAgain(): void {
    this.#report.again();
  }

  disconnected(): void {
    this.#routes?.disconnected();
  }

  peerLost(peer: MinerId): void {
    this.#routes?.peerLost(peer);
  }

  prepare(place: Place): void {
    const { phase } = this;
    const isRepeated = phase.kind !== "failed" && phase.kind !== "ended" && samePlace(place.at, phase.place.at);
    if (!isRepeated) {
      this.#forgetEpoch();
      this.#epochActs.prepare(place);
    }
    // Whoever was away for too long is asked to warm up, and holds the start of this epoch still.
    else if (phase.kind === "ready" || phase.kind === "training") this.#epochActs.sayReady(phase.place);
  }

  /** The next act, whatever this replica missed in between. */
  handle(message: EpochMessage): void {
    const { phase } = this;
    switch (message.type) {
      case "start":
        if (phase.kind === "ready") this.#routes = this.#epochActs.start(message.roster, message.boundary);
        else this.#updateRoster(message.roster);
        this.#askAfterSilence();
        break;
      case "roster":
        this.#updateRoster(message.roster);
        break;
      default:
        if (phase.kind === "training") this.#trained = phase.training.trained;
        if (phase.kind !== "preparing") this.#mergeActs.handle(phase.place, message, this.#trained);
    }
  }

  /** Takes what another replica sent to this one, and answers it unless the training does. */
  receive(from: MinerId, kind: AnsweredKind, message: MicrobatchMessage): Verdict | null {
    const { at } = this.#place;
    const { epoch, attempt } = message;
    if (epoch !== at.epoch || attempt !== at.attempt)
      return isOlder({ ...at, epoch, attempt }, at) ? "stale" : "wrong-place";
    const { phase } = this;
    switch (phase.kind) {
      case "training":
        this.#askAfterSilence();
        phase.training.receive(from, kind, message);
        return null;
      case "preparing":
      case "ready":
        // The sender was told to start a little earlier.
        return kind === "forward" ? "full" : null;
      case "failed":
      case "ended":
        return "wrong-place";
      default:
        return "stale";
    }
  }

  answered(from: MinerId, answer: Answer): void {
    const { phase } = this;
    const { epoch, attempt } = phase.place.at;
    if (phase.kind === "training" && answer.epoch === epoch && answer.attempt === attempt)
      phase.training.answered(from, answer);
  }

  /** What comes too early is asked for again; what comes too late is of no use. */
  receiveExchange(from: MinerId, message: ExchangeMessage): void {
    const { phase } = this;
    const { epoch, attempt } = phase.place.at;
    if (phase.kind === "training" && message.epoch === epoch && message.attempt === attempt)
      phase.training.receiveExchange(from, message);
  }

  receiveMerge(from: MinerId, message: MergeMessage): void {
    const { kind, place } = this.phase;
    // Others merge already: this replica was told so, too, and has not heard it.
    if (kind === "training" && samePlace(message.at, place.at) && this.#isLive(from)) this.#askOutOfTurn();
    this.#mergeActs.receive(from, message);
  }

  /** Takes nothing new; resolves when nothing is half handed over. */
  async handOver(): Promise<void> {
    void this.#errorFeedback.save(); // while there is time: what the last contribution changes is less than what is kept
    const { phase } = this;
    if (phase.kind === "training") await Promise.race([phase.training.windDown(), this.#phases.changed()]);
    while (handsOver.includes(this.phase.kind) && !this.#hasNothingToHandOver()) await this.#phases.changed();
  }

  /** The place is not this miner's any more. Null, or a promise for when the worker is no longer needed. */
  end(): Promise<void> | null {
    const place = this.#place;
    this.#forgetEpoch();
    this.#phases.enter({ kind: "ended", place });
    this.#pastMerges.release();
    const saving = [this.#errorFeedback.save(), keepStart(this.#holding.current, this.#options)];
    return saving.every((one) => one === null) ? null : Promise.all(saving).then(() => undefined);
  }

  #hasNothingToHandOver(): boolean {
    const { phase } = this;
    return phase.kind === "training" && phase.training.tally.tokensBackward === 0;
  }

  #updateRoster(roster: Parameters<Routes["update"]>[0]): void {
    this.#routes?.update(roster);
    this.#mergeActs.lookAgain();
  }

  #isLive(miner: MinerId): boolean {
    return this.#routes === null || this.#routes.standing(miner, this.#place.stage.index) !== "gone";
  }

  #send(message: ClientMessage): void {
    const { send } = this.#options;
    if (!reports.includes(message.type)) return void send(message);
    // What was averaged may take several reports.
    this.#said = message.type === "reduced" ? [...this.#said, message] : [message];
    send(message);
    this.#report.begin(() => this.#said.forEach(send), reportPauses, "later");
  }

  #askAfterSilence(): void {
    const { kind, place } = this.phase;
    if (kind !== "training" || this.#said.some(({ type }) => type !== "ready")) return;
    this.#report.begin(() => this.#epochActs.sayReady(place), silencePauses, "later");
  }

  /** Not so often that another replica could make the network take this miner for a nuisance. */
  #askOutOfTurn(): void {
    const nowMs = this.#options.clock.nowMs();
    if (nowMs - this.#askedOutOfTurnMs < reportPauses.firstMs) return;
    this.#askedOutOfTurnMs = nowMs;
    this.#report.again();
  }

  #entered(phase: Phase): void {
    this.#said = [];
    this.#report.end();
    this.#mergeActs.entered(phase);
    this.#listener.changed();
  }

  #failed(failure: Failure): void {
    const { send, log, engines } = this.#options;
    const { kind, place } = this.phase;
    if (kind === "failed" || kind === "ended") return;
    log("error", `${failure.message} ${failure.action}`.trim());
    this.#forgetEpoch();
    if (failure.code === "compute-crashed") engines.discard();
    this.#phases.enter({ kind: "failed", place, failure });
    send({ type: "failed", at: place.at, failure });
    this.#listener.failed(failure);
  }

  #forgetEpoch(): void {
    this.#routes?.close();
    this.#routes = null;
    this.#trained = nothingTrained;
  }
}
