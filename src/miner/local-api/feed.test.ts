import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { exampleEpoch, exampleRun, exampleState, exampleTelemetry } from "../../../test/contract/example-views.ts";
import { type AppView, applyApiEvent } from "../../protocol/app-view.ts";
import { runIdSchema } from "../../protocol/ids.ts";
import type { ApiEvent } from "../../protocol/local-api.ts";
import { activityChange, changeOf, logChange, machineChange, noActivity } from "./app-state.ts";
import { createFeed, type Feed } from "./feed.ts";

const demo = runIdSchema.parse("demo");
const line = (sequence: number) => logChange({ sequence, atMs: 0, level: "info", source: "test", text: "" });

let feed: Feed;
let events: ApiEvent[];
beforeEach(() => {
  vi.useFakeTimers();
  feed = createFeed(exampleState());
  events = [];
  feed.subscribe((event) => events.push(event));
});
afterEach(() => {
  feed.close();
  vi.useRealTimers();
});

function update(change: Parameters<typeof changeOf>[1]): void {
  feed.apply(changeOf(feed.view.state, change));
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

  it("replaces one run by another with empty lists", () => {
    update({ type: "run-update", update: { runId: demo, view: exampleRun(), epochs: [exampleEpoch(0)] } });
    const other = runIdSchema.parse("other");
    update({ type: "run-update", update: { runId: other, view: exampleRun({ runId: other }) } });
    expect(folded()?.state.run?.runId).toBe(other);
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
    update({ type: "run-update", update: { runId: demo, log: [entry] } });
    vi.advanceTimersByTime(250);
    expect(folded()?.lists.runLog).toEqual([entry]);
    expect(folded()).toEqual(feed.view);
  });

  it("has no share while nobody trains", () => {
    expect(activityChange(feed.view.state, noActivity, 0).set.activity?.share).toBeNull();
  });
});
