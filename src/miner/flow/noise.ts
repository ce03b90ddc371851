/** The randomness of gradients that are rounded on their way back: another one for every tensor that is sent. */
import { streamKey, threefry } from "../../compute/random.ts";
import type { Place } from "./place.ts";

/**
 * 32 bits that follow from the run, the epoch, the attempt, the step, the microbatch and the stage that sends: rounding must not
 * repeat itself, or its errors add up instead of averaging out, and it must be the same for whoever computes it again.
 */
export function noiseOf({ at, stage, training }: Place, step: number, microbatch: number): number {
  const name = `gradient noise, epoch ${at.epoch}, attempt ${at.attempt}, stage ${stage.index}`;
  const words = { first: 0, second: 0 };
  threefry(words, streamKey(training.seed, name), step, microbatch);
  return words.first >>> 0;
}
