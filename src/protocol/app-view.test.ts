import { describe, expect, it } from "vitest";
import { exampleState } from "../../test/contract/example-views.ts";
import { type AppView, applyApiEvent, listLimits } from "./app-view.ts";
import type { ApiEvent } from "./local-api.ts";
import type { LogLine } from "./machine-view.ts";

const line = (sequence: number): LogLine => ({ sequence, atMs: 0, level: "info", source: "test", text: "" });
const epoch = {
  epoch: 0,
  tokens: 1,
  trainLossNats: null,
  finishedAtMs: 0,
  durationMs: 0,
  contributors: 1,
  partitionsLost: 0,
};
const snapshot: ApiEvent = {
  event: "snapshot",
  version: 7,
  state: exampleState(),
  lists: { epochs: [epoch], evaluations: [], runLog: [], log: [line(0)] },
};

function fold(...events: readonly ApiEvent[]): AppView | null {
  return events.reduce<AppView | null>(applyApiEvent, null);
}

describe("the view that events add up to", () => {
  it("grows by deltas in order", () => {
    const view = fold(
      snapshot,
      { event: "delta", version: 8, set: {}, append: { log: [line(1)] } },
      { event: "delta", version: 9, set: {}, append: { log: [line(2)] } },
    );
    expect(view?.version).toBe(9);
    expect(view?.lists.log.map(({ sequence }) => sequence)).toEqual([0, 1, 2]);
  });

  it("is lost by a gap, and by a delta without a snapshot", () => {
    const delta: ApiEvent = { event: "delta", version: 9, set: {}, append: {} };
    expect(fold(snapshot, delta)).toBeNull();
    expect(fold(delta)).toBeNull();
  });

  it("leaves a list that got nothing the same object", () => {
    const view = fold(snapshot, { event: "delta", version: 8, set: {}, append: { log: [line(1)], epochs: [] } });
    expect(view?.lists.epochs).toBe(snapshot.lists.epochs);
  });

  it("empties the run's lists when the run is sent anew, and keeps the daemon's log", () => {
    const view = fold(snapshot, { event: "delta", version: 8, set: {}, append: { log: [line(1)] }, reset: true });
    expect(view?.lists.epochs).toEqual([]);
    expect(view?.lists.log).toHaveLength(2);
  });

  it("keeps only the newest lines", () => {
    const log = Array.from({ length: listLimits.log + 5 }, (_, index) => line(index + 1));
    const view = fold(snapshot, { event: "delta", version: 8, set: {}, append: { log } });
    expect(view?.lists.log).toHaveLength(listLimits.log);
    expect(view?.lists.log.at(-1)?.sequence).toBe(listLimits.log + 5);
  });
});
