import { describe, expect, it } from "vitest";
import { presets } from "../../../compute/model/presets.ts";
import { FakeSwarm, fakeDefinition, fakeMiner } from "./fake-swarm.ts";
import { viewOf } from "./view.ts";

/** Three stages of the demo's model, which compute far more than a slow link carries. */
function swarmWith(part: Parameters<typeof fakeDefinition>[0]): FakeSwarm {
  const { model, training } = presets.demo;
  const swarm = new FakeSwarm(fakeDefinition({ model, training, ...part }));
  swarm.join(1, 2, 3, 4, 5, 6);
  return swarm;
}

function measure(swarm: FakeSwarm, upBytesPerSecond: number): void {
  const link = { type: "link", upBytesPerSecond, downBytesPerSecond: upBytesPerSecond, roundTripMs: 10 } as const;
  for (const index of [1, 2, 3, 4, 5, 6]) swarm.say(fakeMiner(index), link);
}

const recommendations = ({ state }: FakeSwarm) => state.log.filter(({ text }) => text.startsWith("On these links"));

describe("a run's plan", () => {
  it("is made again for the slowest link at each epoch's end, and shown beside what the run does", () => {
    const swarm = swarmWith({});
    measure(swarm, 1e6);
    swarm.say(fakeMiner(3), { type: "link", upBytesPerSecond: 2e5, downBytesPerSecond: 1e6, roundTripMs: 90 });
    swarm.finishEpoch();
    const { current, recommended } = viewOf(swarm.state).plan;
    expect(recommended.link).toEqual({ upBytesPerSecond: 2e5, downBytesPerSecond: 1e6, roundTripMs: 90 });
    expect(current.compression).toEqual(swarm.state.definition.training.compression);
    expect(recommended.efficiency).toBeGreaterThan(current.efficiency);
  });

  it("decides what crosses boundaries where the run was made to adapt", () => {
    const swarm = swarmWith({ adaptsCompression: true });
    measure(swarm, 2e5);
    swarm.finishEpoch();
    const slow = viewOf(swarm.state).boundaryFormats;
    expect(slow).toEqual(viewOf(swarm.state).plan.recommended.compression.boundary);
    expect(slow.forward).not.toBe("f32");
    measure(swarm, 1e9);
    swarm.finishEpoch();
    expect(viewOf(swarm.state).boundaryFormats).toEqual({ forward: "f32", backward: "f32" });
  });

  it("changes nothing where it was not, and says at most daily what would be better", () => {
    const swarm = swarmWith({});
    measure(swarm, 2e5);
    for (let epoch = 0; epoch < 3; epoch++) swarm.finishEpoch();
    expect(viewOf(swarm.state).boundaryFormats).toEqual({ forward: "f32", backward: "f32" });
    expect(recommendations(swarm)).toHaveLength(1);
    swarm.nowMs += 24 * 3_600_000;
    swarm.finishEpoch();
    expect(recommendations(swarm)).toHaveLength(2);
  });

  it("recommends nothing before a link was measured", () => {
    const swarm = swarmWith({});
    swarm.finishEpoch();
    expect(recommendations(swarm)).toEqual([]);
  });
});
