import { expect, test } from "vitest";
import { fakeNetwork } from "../../../test/e2e/fixtures/fake-network.ts";
import type { ApiEvent } from "../../protocol/local-api.ts";
import { applyEvent, type Dashboard, emptyDashboard, trainedTokens } from "./dashboard.ts";

const { state, lists } = fakeNetwork({ stages: 3, replicas: 2, epochs: 2 });
const { run, telemetry } = state;
if (!run || !telemetry) throw new Error("the fake network has a run");
const snapshot: ApiEvent = { event: "snapshot", version: 4, state, lists };
const delta = (version: number, change: Partial<Extract<ApiEvent, { event: "delta" }>>): ApiEvent => ({
  event: "delta",
  version,
  set: {},
  append: {},
  ...change,
});
const after = (...events: readonly ApiEvent[]): Dashboard => events.reduce(applyEvent, emptyDashboard);

test("what a delta does not name stays the same object, so that nothing renders for it", () => {
  const before = after(snapshot);
  const next = applyEvent(before, delta(5, { set: { credits: { estimated: 1, pending: 0, payable: 0, paid: 0 } } }));
  expect(next.view?.state.credits.estimated).toBe(1);
  expect(next.view?.state.run).toBe(before.view?.state.run);
  expect(next.view?.lists.epochs).toBe(before.view?.lists.epochs);
  expect(next.liveLoss).toBe(before.liveLoss);
});

test("what comes out of step changes nothing", () => {
  const before = after(snapshot);
  expect(applyEvent(before, delta(7, { set: { run: null } }))).toBe(before);
});

test("each telemetry adds a point to the loss of the epoch in progress, and the merge removes them", () => {
  const later = { ...telemetry, atMs: telemetry.atMs + 500, microbatchesDone: telemetry.microbatchesDone + 2 };
  const growing = after(snapshot, delta(5, { set: { telemetry: later } }));
  expect(growing.liveLoss.map(({ tokens }) => tokens)).toEqual([
    run.tokens + telemetry.microbatchesDone * run.microbatchTokens,
    run.tokens + later.microbatchesDone * run.microbatchTokens,
  ]);
  const epoch = {
    epoch: 2,
    tokens: 9e6,
    trainLossNats: 2,
    finishedAtMs: 1,
    durationMs: 1,
    contributors: 6,
    partitionsLost: 0,
  };
  const merged = { ...run, tokens: 9e6, phase: "preparing" as const };
  expect(applyEvent(growing, delta(6, { set: { run: merged }, append: { epochs: [epoch] } })).liveLoss).toEqual([]);
});

test("a telemetry that repeats the count, or has no loss yet, adds no point", () => {
  const repeated = delta(5, { set: { telemetry: { ...telemetry } } });
  const lossless = delta(6, { set: { telemetry: { ...telemetry, microbatchesDone: 60, trainLossNats: null } } });
  expect(after(snapshot, repeated, lossless).liveLoss).toHaveLength(1);
});

test("the mean over an epoch's first few microbatches is too noisy to be drawn", () => {
  const early = delta(5, { set: { telemetry: { ...telemetry, microbatchesDone: 1, microbatchesPlanned: 64 } } });
  const before = applyEvent(emptyDashboard, { ...snapshot, state: { ...state, telemetry: null } });
  expect(applyEvent(before, early).liveLoss).toEqual([]);
});

test("tokens of the epoch in progress count while it trains and merges, and never from an older epoch's telemetry", () => {
  const own = telemetry.microbatchesDone * run.microbatchTokens;
  expect(trainedTokens({ run, telemetry })).toBe(run.tokens + own);
  expect(trainedTokens({ run: { ...run, phase: "merging", phaseSinceMs: telemetry.atMs + 1 }, telemetry })).toBe(
    run.tokens + own,
  );
  expect(trainedTokens({ run: { ...run, phaseSinceMs: telemetry.atMs + 1 }, telemetry })).toBe(run.tokens);
  expect(trainedTokens({ run: { ...run, phase: "waiting" }, telemetry })).toBe(run.tokens);
  expect(trainedTokens({ run: null, telemetry: null })).toBe(0);
});
