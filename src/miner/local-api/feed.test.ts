import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  exampleEpoch,
  exampleRun,
  exampleState,
  exampleSummary,
  exampleTelemetry,
} from "../../../test/contract/example-views.ts";
import { type AppView, applyApiEvent } from "../../protocol/app-view.ts";
import { type RunId, runIdSchema } from "../../protocol/ids.ts";
import type { ApiEvent } from "../../protocol/local-api.ts";
import { activityChange, logChange, machineChange, noActivity } from "./app-state.ts";
import { createFeed, type Feed } from "./feed.ts";
import { KnownRuns, type RunEvent } from "./known-runs.ts";

const demo = runIdSchema.parse("demo");
const other = runIdSchema.parse("other");
const line = (sequence: number) => logChange({ sequence, atMs: 0, level: "info", source: "test", text: "" });

let feed: Feed;
let runs: KnownRuns;
let events: ApiEvent[];
beforeEach(() => {
  vi.useFakeTimers();
  feed = createFeed(exampleState());
  runs = new KnownRuns();
  events = [];
  feed.subscribe((event) => events.push(event));
});
afterEach(() => {
  feed.close();
  vi.useRealTimers();
});

function update(event: RunEvent): void {
  feed.apply(runs.take(event));
}

function introduce(runId: RunId, epoch: number): void {
  update({ type: "run-update", update: { runId, view: exampleRun({ runId }), epochs: [exampleEpoch(epoch)] } });
}

function folded(): AppView | null {
  return events.reduce<AppView | null>(applyApiEvent, null);
}

describe("feed", () => {
  it("sends a change of state at once, with everything that waited", () => {
    feed.apply(line(0));
    expect(events).toHaveLength(1);
    feed.apply(machineChange(feed.view.state, { intent: "pause" }));
    expect(events).toHaveLength(2);
    expect(folded()).toEqual(feed.view);
  });

  it("sends what nobody waits for at most four times a second", () => {
    for (let index = 0; index < 100; index++) {
      feed.apply(activityChange(feed.view.state, { ...noActivity, tokensForward: index + 1 }, 0));
      feed.apply(line(index));
      vi.advanceTimersByTime(10);
    }
    vi.advanceTimersByTime(250);
    expect(events.length - 1).toBeLessThanOrEqual(5);
    expect(folded()?.state.activity.tokensForward).toBe(100);
    expect(folded()?.lists.log).toHaveLength(100);
  });

  it("says nothing when nothing changed", () => {
    feed.apply(activityChange(feed.view.state, noActivity, 0));
    feed.apply(machineChange(feed.view.state, { workers: [] }));
    vi.advanceTimersByTime(1000);
    expect(events).toHaveLength(1);
  });

  it("gives a new subscriber what waits, and others the same version", () => {
    feed.apply(line(0));
    const late: ApiEvent[] = [];
    feed.subscribe((event) => late.push(event));
    feed.apply(machineChange(feed.view.state, { intent: "pause" }));
    expect(late.map(({ event, version }) => `${event} ${version}`)).toEqual(["snapshot 1", "delta 2"]);
    expect(late.reduce<AppView | null>(applyApiEvent, null)).toEqual(folded());
  });
});

describe("what events of the miner change", () => {
  it("adds a run's news to its lists, once", () => {
    update({ type: "run-update", update: { runId: demo, view: exampleRun(), epochs: [exampleEpoch(0)] } });
    update({
      type: "run-update",
      update: { runId: demo, epochs: [exampleEpoch(1)], telemetry: exampleTelemetry(5, 60) },
    });
    vi.advanceTimersByTime(250);
    expect(folded()?.lists.epochs).toEqual([exampleEpoch(0), exampleEpoch(1)]);
    expect(folded()?.state.telemetry).toEqual(exampleTelemetry(5, 60));
  });

  it("shows the run that this machine is assigned to from its beginning, and then only what is new of it", () => {
    introduce(demo, 0);
    introduce(other, 1);
    expect(folded()?.state.run?.runId).toBe(demo);
    update({ type: "assigned", runId: other });
    expect(folded()?.state.run?.runId).toBe(other);
    expect(folded()?.lists.epochs).toEqual([exampleEpoch(1)]);
    update({ type: "run-update", update: { runId: demo, epochs: [exampleEpoch(2)] } });
    update({ type: "run-update", update: { runId: other, epochs: [exampleEpoch(3)] } });
    expect(folded()?.lists.epochs).toEqual([exampleEpoch(1), exampleEpoch(3)]);
    expect(runs.details(demo).epochs).toEqual([exampleEpoch(0), exampleEpoch(2)]);
    expect(folded()).toEqual(feed.view);
  });

  it("goes on showing the same run after a reconnect, whichever is told first, and while it works for none", () => {
    const listed = [exampleSummary(), exampleSummary({ runId: other })];
    update({ type: "runs", runs: listed });
    introduce(demo, 0);
    introduce(other, 1);
    update({ type: "assigned", runId: other });
    update({ type: "assigned", runId: null });
    update({ type: "run-reset" });
    update({ type: "runs", runs: listed });
    introduce(demo, 0);
    introduce(other, 1);
    expect(folded()?.state.run?.runId).toBe(other);
    expect(folded()?.lists.epochs).toEqual([exampleEpoch(1)]);
    expect(folded()).toEqual(feed.view);
  });

  it("shows another run when the one that was shown is deleted, and none when there is none", () => {
    introduce(demo, 0);
    introduce(other, 1);
    update({ type: "runs", runs: [exampleSummary({ runId: other })] });
    expect(folded()?.state.run?.runId).toBe(other);
    expect(() => runs.details(demo)).toThrow("There is no run");
    update({ type: "runs", runs: [] });
    expect(folded()?.state).toMatchObject({ run: null, telemetry: null, runs: [] });
    expect(folded()?.lists.epochs).toEqual([]);
  });

  it("ignores news of a run that was never introduced", () => {
    update({ type: "run-update", update: { runId: demo, epochs: [exampleEpoch(0)] } });
    expect(folded()?.lists.epochs).toEqual([]);
  });

  it("drops what waited of the old run's lists when the run is sent anew", () => {
    update({ type: "run-update", update: { runId: demo, view: exampleRun() } });
    const entry = { sequence: 0, atMs: 0, level: "info", text: "epoch 1 begins" } as const;
    update({ type: "run-update", update: { runId: demo, log: [entry] } });
    update({ type: "run-reset" });
    update({ type: "run-update", update: { runId: demo, view: exampleRun(), log: [entry] } });
    vi.advanceTimersByTime(250);
    expect(folded()?.lists.runLog).toEqual([entry]);
    expect(folded()).toEqual(feed.view);
  });

  it("has no share while nobody trains", () => {
    expect(activityChange(feed.view.state, noActivity, 0).set.activity?.share).toBeNull();
  });
});
