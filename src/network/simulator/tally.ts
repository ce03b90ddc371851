/** What a simulation comes to. */
import type { MinerId } from "../../protocol/ids.ts";
import type { Effect } from "../orchestrator/core/event.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import type { TroubleKind } from "./troubles.ts";

export interface Outcome {
  readonly virtualHours: number;
  /** That the core worked out, and messages that it sent. */
  readonly events: number;
  readonly messages: number;
  readonly epochs: number;
  /** Attempts at an epoch that came to nothing. */
  readonly failedAttempts: number;
  /** Trained, merged and credited. */
  readonly tokens: number;
  /** Of these, until the last merge. */
  readonly tokensPerSecond: number;
  /** Stages that a miner got while it held another, per virtual hour. */
  readonly movesPerHour: number;
  readonly partitionsLost: number;
  readonly interruptions: Readonly<Record<TroubleKind, number>>;
  /** Mean over the merged epochs. */
  readonly contributors: number;
  readonly creditsBalance: boolean;
}

export class Tally {
  readonly interruptions: Record<TroubleKind, number> = { crashes: 0, sleeps: 0, leaves: 0, slowdowns: 0 };
  readonly #startMs: number;
  #events = 0;
  #messages = 0;
  #failedAttempts = 0;
  #moves = 0;
  #contributors = 0;
  #mergedAtMs: number;
  #microCredits = 0;
  #stages = new Map<MinerId, readonly number[]>();

  constructor(startMs: number) {
    this.#startMs = startMs;
    this.#mergedAtMs = startMs;
  }

  count(before: RunState, after: RunState, effects: readonly Effect[]): void {
    this.#events++;
    for (const effect of effects) {
      if (effect.type === "send") this.#messages++;
      if (effect.type === "credit") this.#microCredits += effect.receipt.microCredits;
    }
    if (after.attempt > before.attempt) this.#failedAttempts++;
    if (after.epoch > before.epoch) {
      const merged = after.epochs.at(-1);
      this.#contributors += merged?.contributors ?? 0;
      this.#mergedAtMs = merged?.finishedAtMs ?? this.#mergedAtMs;
    }
    if (after.placement !== before.placement) this.#countMoves(after);
  }

  outcome({ epoch, tokens, partitionsLost, credits }: RunState, virtualHours: number): Outcome {
    const credited = Object.values(credits).reduce((sum, microCredits) => sum + microCredits, 0);
    const seconds = (this.#mergedAtMs - this.#startMs) / 1000;
    return {
      virtualHours,
      events: this.#events,
      messages: this.#messages,
      epochs: epoch,
      failedAttempts: this.#failedAttempts,
      tokens,
      tokensPerSecond: seconds > 0 ? tokens / seconds : 0,
      movesPerHour: this.#moves / virtualHours,
      partitionsLost,
      interruptions: this.interruptions,
      contributors: epoch > 0 ? this.#contributors / epoch : 0,
      creditsBalance: credited === this.#microCredits,
    };
  }

  /** Who has come since is not moved, but placed. */
  #countMoves({ members }: RunState): void {
    const stages = new Map(members.map((member) => [member.minerId, member.stages]));
    for (const [minerId, held] of stages) {
      const before = this.#stages.get(minerId) ?? [];
      if (before.length > 0) this.#moves += held.filter((stage) => !before.includes(stage)).length;
    }
    this.#stages = stages;
  }
}
