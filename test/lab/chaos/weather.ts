/** How badly a link treats messages, and what that means for each of them: a function of the seed and the message's number. */
import { type Key, uniform } from "../../../src/compute/random.ts";

/** Shares of all messages, together at most 1. */
export interface Weather {
  /** Never arrive. */
  readonly dropped: number;
  /** Arrive twice. */
  readonly duplicated: number;
  /** Are overtaken by the one behind them. */
  readonly reordered: number;
  /** Arrive `delayMs` late, and those behind them do not wait. */
  readonly delayed: number;
  readonly delayMs: number;
}

export const fairWeather: Weather = { dropped: 0, duplicated: 0, reordered: 0, delayed: 0, delayMs: 0 };

export type Fate = "pass" | "drop" | "duplicate" | "reorder" | "delay";

/** What becomes of message `index` of a lane. */
export function fateOf({ dropped, duplicated, reordered, delayed }: Weather, lane: Key, index: number): Fate {
  const fates: readonly (readonly [Fate, number])[] = [
    ["drop", dropped],
    ["duplicate", duplicated],
    ["reorder", reordered],
    ["delay", delayed],
  ];
  let draw = uniform(lane, 0, index);
  for (const [fate, share] of fates) {
    if (draw < share) return fate;
    draw -= share;
  }
  return "pass";
}
