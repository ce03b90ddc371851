import { describe, expect, it } from "vitest";
import type { EpochRecord } from "../../../src/protocol/run-view.ts";
import { evaluated, fakeBooks } from "./fake-books.ts";
import { type Evidence, judge } from "./judge.ts";
import { WorkBook } from "./work-book.ts";

const rules = { name: "kills", about: "miners are killed", goodputAtLeast: 0.92, recoverySecondsAtMost: 3 };

describe("the verdict on a scenario", () => {
  it("is met when all invariants hold and all targets are reached", () => {
    expect(judge(rules, evidence({}))).toMatchObject({
      scenario: "kills",
      goodput: 0.95,
      creditsLost: 0,
      recoverySeconds: 1,
      violations: [],
      verdict: "met",
    });
  });

  it("is missed when the goodput is too low", () => {
    expect(judge(rules, evidence({ goodput: 0.8 }))).toMatchObject({
      goodput: 0.8,
      violations: ["the goodput is below 0.92"],
      verdict: "missed",
    });
  });

  it("is missed when the flow recovers too late, or never", () => {
    expect(judge(rules, evidence({ recoveredAtMs: 14_000 }))).toMatchObject({
      recoverySeconds: 4,
      violations: ["the flow took more than 3 s to recover"],
    });
    const { violations, recoverySeconds } = judge(rules, evidence({ recoveredAtMs: null }));
    expect(violations).toContain("the flow did not recover from a fault");
    expect(recoverySeconds).toBeNull();
  });

  it("is missed when training stands still", () => {
    const { spans, ...seen } = evidence({});
    const still = { from: spans.disturbed.from, to: spans.disturbed.from };
    const { verdict, violations } = judge(rules, { ...seen, spans: { ...spans, disturbed: still } });
    expect(verdict).toBe("missed");
    expect(violations).toContain("epochs no longer end");
  });

  it("is missed when an invariant is broken, or the audit finds something", () => {
    const books = fakeBooks();
    const rising = { ...books, events: [...books.events, evaluated(5, 9)] };
    expect(judge(rules, { ...evidence({}), books: rising }).violations).toEqual([
      "the loss did not fall: 3.5 to 9 nats",
    ]);
    const findings = ["there is no receipt for a credit"];
    const audited = judge(rules, { ...evidence({}), findings });
    expect(audited).toMatchObject({ violations: findings, verdict: "missed" });
  });

  it("is missed when credits that were shown are gone", () => {
    const [receipt] = fakeBooks().receipts;
    if (receipt === undefined) throw new Error("no receipt");
    const creditsShown = new Map([[receipt.minerId, 1e12]]);
    const { violations, creditsLost } = judge(rules, { ...evidence({}), creditsShown });
    expect(violations).toEqual(["credits that miners were shown are gone"]);
    expect(creditsLost).toBeGreaterThan(0);
  });
});

/** One epoch before the one fault, which happens at 10 s, one with it and one after it. */
function evidence({
  goodput = 0.95,
  recoveredAtMs = 11_000,
}: {
  goodput?: number;
  recoveredAtMs?: number | null;
}): Evidence {
  const book = new WorkBook();
  const flowsFrom = (fromMs: number, toMs: number) => {
    for (let atMs = fromMs; atMs < toMs; atMs += 100) book.flow.push({ atMs, microbatches: 1 });
  };
  flowsFrom(0, 10_000);
  if (recoveredAtMs !== null) flowsFrom(recoveredAtMs, recoveredAtMs + 5_000);
  // All epochs of the books have as many tokens.
  const endsMs = [0, 10_000, 10_000 + 10_000 / goodput, 20_000 + 10_000 / goodput];
  const [begin, calm, recovered, end] = endsMs.map(epochEnd);
  if (!begin || !calm || !recovered || !end) throw new Error("four epochs end");
  return {
    books: fakeBooks(),
    details: {},
    spans: {
      before: { from: begin, to: calm },
      disturbed: { from: calm, to: recovered },
      after: { from: recovered, to: end },
    },
    disturbedFromMs: 10_000,
    faultsAtMs: [10_000],
    book,
    creditsShown: new Map(),
    contradictions: [],
    findings: [],
  };
}

function epochEnd(finishedAtMs: number, epoch: number): EpochRecord {
  return { epoch, tokens: 0, trainLossNats: 1, finishedAtMs, durationMs: 0, contributors: 1, partitionsLost: 0 };
}
