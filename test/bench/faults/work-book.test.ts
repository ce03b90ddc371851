import { describe, expect, it } from "vitest";
import { minerIdSchema, runIdSchema } from "../../../src/protocol/ids.ts";
import { type Flow, flowRate, recoverySeconds, WorkBook } from "./work-book.ts";

const [one, other] = ["1", "2"].map((digit) => minerIdSchema.parse(digit.repeat(64)));
const runId = runIdSchema.parse("run");

const silentProgress = {
  type: "progress",
  tokensBackward: 0,
  microbatchesDone: 0,
  microbatchesLost: 0,
  microbatchesInFlight: 0,
  microbatchesRerouted: 0,
  microbatchesStale: 0,
  messagesDamaged: 0,
  stalenessSum: 0,
  stalenessMost: 0,
  tokensPerSecond: 0,
  memoryBytes: 0,
  lossSumNats: null,
} as const;

describe("the work book", () => {
  function report(book: WorkBook, atMs: number, miner: typeof one, stage: number, done: number, attempt = 0): void {
    if (miner === undefined) throw new Error("no miner");
    const at = { runId, epoch: 3, attempt, stage };
    const counts = { microbatchesDone: done, tokensBackward: 10 * done };
    book.record(miner, { ...silentProgress, at, ...counts }, atMs);
  }

  it("counts what comes back to sources as flow, once", () => {
    const book = new WorkBook();
    report(book, 0, one, 0, 2);
    report(book, 500, one, 0, 2);
    report(book, 500, other, 1, 9);
    report(book, 1000, one, 0, 5);
    expect(book.flow).toEqual([
      { atMs: 0, microbatches: 2 },
      { atMs: 1000, microbatches: 3 },
    ]);
    expect(flowRate(book.flow, 0, 1000)).toEqual({ microbatchesPerSecond: 3 });
  });

  it("adds up what was trained by stage, replica and attempt", () => {
    const book = new WorkBook();
    report(book, 0, one, 0, 2);
    report(book, 500, one, 0, 4);
    report(book, 500, other, 0, 1);
    report(book, 900, one, 0, 3, 1);
    report(book, 900, other, 1, 7);
    expect(book.trainedTokens(2, () => true)).toEqual([80, 70]);
    expect(book.trainedTokens(2, (epoch) => epoch !== 3)).toEqual([0, 0]);
  });
});

describe("the recovery of the flow", () => {
  const undisturbed = { microbatchesPerSecond: 10 };
  const steady = (fromMs: number, toMs: number): Flow[] =>
    Array.from({ length: (toMs - fromMs) / 100 }, (_, index) => ({ atMs: fromMs + 100 * index, microbatches: 1 }));

  it("takes no longer than the interval of reports where nothing stalls", () => {
    expect(recoverySeconds(steady(0, 10_000), 5_000, undisturbed)).toBeCloseTo(0.6);
  });

  it("takes as long as the stall", () => {
    expect(recoverySeconds([...steady(0, 5_000), ...steady(9_000, 12_000)], 5_000, undisturbed)).toBeCloseTo(4);
  });

  it("is not there yet while only a trickle flows", () => {
    const trickle = [6_000, 7_000, 8_000].map((atMs) => ({ atMs, microbatches: 1 }));
    expect(recoverySeconds(trickle, 5_000, undisturbed)).toBeNull();
    expect(recoverySeconds([...trickle, ...steady(9_000, 12_000)], 5_000, undisturbed)).toBeCloseTo(4);
  });

  it("is not mistaken for what was reported just after the fault and done before it", () => {
    expect(recoverySeconds([{ atMs: 5_400, microbatches: 20 }], 5_000, undisturbed)).toBeNull();
  });
});
