import { describe, expect, it } from "vitest";
import type { EpochRecord } from "../../../src/protocol/run-view.ts";
import { evaluated, fakeBooks } from "./fake-books.ts";
import { judge, type Observations, type Span } from "./judge.ts";
import { WorkBook } from "./work-book.ts";

const rules = { name: "kills", about: "miners are killed", goodputAtLeast: 0.92, recoverySecondsAtMost: 3 };

describe("the verdict on a scenario", () => {
  it("is met when all invariants hold and all targets are reached", () => {
    expect(judge(rules, fakeBooks(), observations({}))).toMatchObject({
      scenario: "kills",
      goodput: 0.95,
      creditsLost: 0,
      recoverySeconds: 1,
      violations: [],
      verdict: "met",
    });
  });

  it("is missed when the goodput is too low", () => {
    expect(judge(rules, fakeBooks(), observations({ disturbed: 80 }))).toMatchObject({
      goodput: 0.8,
      violations: ["the goodput is below 0.92"],
      verdict: "missed",
    });
  });

  it("is missed when the flow recovers too late, or never", () => {
    expect(judge(rules, fakeBooks(), observations({ recoveredAtMs: 14_000 }))).toMatchObject({
      recoverySeconds: 4,
      violations: ["the flow took more than 3 s to recover"],
    });
    const { violations, recoverySeconds } = judge(rules, fakeBooks(), observations({ recoveredAtMs: null }));
    expect(violations).toContain("the flow did not recover from a fault");
    expect(recoverySeconds).toBeNull();
  });

  it("is missed when training stands still", () => {
    const { verdict, violations } = judge(rules, fakeBooks(), observations({ disturbed: 0, after: 0 }));
    expect(verdict).toBe("missed");
    expect(violations).toContain("epochs no longer end");
  });

  it("is missed when an invariant is broken, or the audit finds something", () => {
    const books = fakeBooks();
    const rising = { ...books, events: [...books.events, evaluated(3, 9)] };
    expect(judge(rules, rising, observations({})).violations).toEqual(["the loss did not fall: 3 to 9 nats"]);
    const findings = ["there is no receipt for a credit"];
    const audited = judge(rules, fakeBooks(), { ...observations({}), findings });
    expect(audited).toMatchObject({ violations: findings, verdict: "missed" });
  });

  it("is missed when credits that were shown are gone", () => {
    const [receipt] = fakeBooks().receipts;
    if (receipt === undefined) throw new Error("no receipt");
    const creditsShown = new Map([[receipt.minerId, 1e12]]);
    const { violations, creditsLost } = judge(rules, fakeBooks(), { ...observations({}), creditsShown });
    expect(violations).toEqual(["credits that miners were shown are gone"]);
    expect(creditsLost).toBeGreaterThan(0);
  });
});

/** Tokens per second before and after are 100; the one fault happens at 10 s. */
function observations({
  disturbed = 95,
  after = 100,
  recoveredAtMs = 11_000,
}: {
  disturbed?: number;
  after?: number;
  recoveredAtMs?: number | null;
}): Observations {
  const book = new WorkBook();
  const flowsFrom = (fromMs: number, toMs: number) => {
    for (let atMs = fromMs; atMs < toMs; atMs += 100) book.flow.push({ atMs, microbatches: 1 });
  };
  flowsFrom(0, 10_000);
  if (recoveredAtMs !== null) flowsFrom(recoveredAtMs, recoveredAtMs + 5_000);
  return {
    stages: 3,
    details: {},
    spans: { before: span(0, 100), disturbed: span(1, disturbed), after: span(2, after) },
    disturbedFromMs: 10_000,
    faultsAtMs: [10_000],
    book,
    creditsShown: new Map(),
    contradictions: [],
    findings: [],
  };
}

function span(epoch: number, tokensPerSecond: number): Span {
  const to: EpochRecord = {
    epoch,
    tokens: 0,
    trainLossNats: 1,
    finishedAtMs: 0,
    durationMs: 0,
    contributors: 1,
    partitionsLost: 0,
  };
  return { to, tokensPerSecond, seconds: 10 };
}
