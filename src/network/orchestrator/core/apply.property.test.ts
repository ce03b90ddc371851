import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkSequence, randomSequence } from "./random-sequence.ts";

describe("any order of events", () => {
  // `npm run bench -- properties --sequences 100000` tries many more.
  it("breaks no rule, replays to the same state from any snapshot, and leaves a run that goes on", {
    timeout: 120_000,
  }, () => {
    let epochs = 0;
    fc.assert(
      fc.property(randomSequence, (sequence) => {
        epochs += checkSequence(sequence).state.epoch;
      }),
      { numRuns: 200, seed: 20_260_101 },
    );
    // The events are not all rejected: epochs do get through.
    expect(epochs).toBeGreaterThan(200);
  });
});
