import { describe, expect, it } from "vitest";
import { presets } from "../../../compute/model/presets.ts";
import type { Compression } from "../../../protocol/run-config.ts";
import { type RunDefinition, tokensPerSource } from "./definition.ts";
import { FakeSwarm, fakeDefinition, fakeMiner } from "./fake-swarm.ts";
import { epochTraining } from "./planning.ts";
import { viewOf } from "./view.ts";

const six = [1, 2, 3, 4, 5, 6];
const both = ["boundary-formats", "steps-per-epoch"] as const;
/** As a plan for homes' links has it. */
const compression: Compression = {
  boundary: { forward: "int8", backward: "int8" },
  exchange: { codec: { kind: "dense", bits: 2 }, lag: 1 },
  merge: { kind: "dense", bits: 2 },
};

/** Such an epoch takes fake miners, who train 31 tokens/s, two minutes. */
const stepsPerEpoch = 1;

/** Three stages of the demo's model, which compute far more than a slow link carries. */
function swarmWith({ adapts }: Pick<RunDefinition, "adapts">, rounding: Partial<Compression> = {}): FakeSwarm {
  const { model, training } = presets.demo;
  const batch = { microbatchesPerStep: 16, sequencesPerMicrobatch: 1 };
  const rounded = { ...training, ...batch, stepsPerEpoch, compression: { ...compression, ...rounding } };
  const swarm = new FakeSwarm(fakeDefinition({ model, training: rounded, adapts }));
  swarm.join(...six);
  return swarm;
}

function measure(swarm: FakeSwarm, upBytesPerSecond: number, indices: readonly number[] = six): void {
  const link = { type: "link", upBytesPerSecond, downBytesPerSecond: upBytesPerSecond, roundTripMs: 10 } as const;
  for (const index of indices) swarm.say(fakeMiner(index), link);
}

function finishEpochs(swarm: FakeSwarm, count: number): void {
  for (let epoch = 0; epoch < count; epoch++) swarm.finishEpoch();
}

/** What the run does that may change. */
const doing = ({ state }: FakeSwarm) => ({ ...state.boundaryWatch.formats, steps: epochTraining(state).stepsPerEpoch });
const recommendations = ({ state }: FakeSwarm) => state.log.filter(({ text }) => text.startsWith("On these links"));

/** In bytes per second: fake miners hardly notice the one, and fill the other with the fewest bits. */
const [roomy, tight] = [2e6, 4e3];

describe("a run's plan", () => {
  it("is made again for the slowest link at each epoch's end, and shown beside what the run does", () => {
    const swarm = swarmWith({});
    measure(swarm, roomy);
    swarm.say(fakeMiner(3), { type: "link", upBytesPerSecond: tight, downBytesPerSecond: roomy, roundTripMs: 90 });
    swarm.finishEpoch();
    const { current, recommended } = viewOf(swarm.state).plan;
    expect(recommended.link).toEqual({ upBytesPerSecond: tight, downBytesPerSecond: roomy, roundTripMs: 90 });
    expect(current.compression).toEqual(swarm.state.definition.training.compression);
    expect(recommended.efficiency).toBeGreaterThan(current.efficiency);
  });

  it("changes what crosses boundaries, and how often replicas merge, where the run was made to adapt", () => {
    const swarm = swarmWith({ adapts: both });
    const before = doing(swarm);
    measure(swarm, tight);
    finishEpochs(swarm, 2);
    const slow = doing(swarm);
    expect(slow.steps).toBeGreaterThan(before.steps);
    expect(slow.backward).not.toBe(before.backward);
    measure(swarm, 1e9);
    finishEpochs(swarm, 2);
    expect(doing(swarm)).toEqual({ forward: "f32", backward: "f32", steps: before.steps });
  });

  it("tells every replica of an epoch the same, and counts on that many tokens", () => {
    const swarm = swarmWith({ adapts: both });
    measure(swarm, tight);
    finishEpochs(swarm, 2);
    const effects = swarm.effects.length;
    const tokens = swarm.state.tokens;
    swarm.finishEpoch();
    const { stepsPerEpoch } = epochTraining(swarm.state);
    const told = swarm.sent("prepare", swarm.effects.slice(effects)).map(({ message }) => message.training);
    expect(new Set(told.map((training) => training.stepsPerEpoch))).toEqual(new Set([stepsPerEpoch]));
    expect(swarm.state.tokens - tokens).toBe(2 * tokensPerSource(epochTraining(swarm.state)));
    expect(swarm.state.members.filter(({ unreliable }) => unreliable)).toEqual([]);
  });

  it("changes nothing for a link that was busy with something else in one epoch", () => {
    const swarm = swarmWith({ adapts: both });
    measure(swarm, roomy);
    finishEpochs(swarm, 4);
    const before = doing(swarm);
    measure(swarm, tight);
    swarm.finishEpoch();
    measure(swarm, roomy);
    finishEpochs(swarm, 2);
    expect(doing(swarm)).toEqual(before);
  });

  it("does not change again and again with a link that scatters by a fifth, wherever it lies", () => {
    for (let rate = tight; rate < roomy; rate *= 1.7) {
      const swarm = swarmWith({ adapts: both });
      measure(swarm, rate);
      finishEpochs(swarm, 4);
      const seen = [1.2, 1.2, 1 / 1.2, 1 / 1.2, 1.2, 1.2, 1 / 1.2, 1 / 1.2].map((factor) => {
        measure(swarm, factor * rate);
        swarm.finishEpoch();
        return JSON.stringify(doing(swarm));
      });
      const changes = seen.filter((one, epoch) => epoch > 0 && one !== seen[epoch - 1]);
      expect(changes.length, `around ${rate} B/s`).toBeLessThanOrEqual(1);
    }
  });

  it("follows a slow miner that joins, and goes back when it has left", () => {
    const swarm = swarmWith({ adapts: both });
    measure(swarm, roomy);
    finishEpochs(swarm, 3);
    const before = doing(swarm);
    swarm.join(7);
    measure(swarm, tight, [7]);
    finishEpochs(swarm, 3);
    expect(doing(swarm)).not.toEqual(before);
    swarm.loseForGood(7);
    finishEpochs(swarm, 3);
    expect(doing(swarm)).toEqual(before);
  });

  it("keeps what its owner asked for", () => {
    const boundary = { forward: "int4", backward: "int4" } as const;
    const swarm = swarmWith({ adapts: ["steps-per-epoch"] }, { boundary, merge: { kind: "f32" } });
    measure(swarm, 1e9);
    finishEpochs(swarm, 2);
    expect(doing(swarm)).toMatchObject(boundary);
    measure(swarm, 2e4);
    finishEpochs(swarm, 2);
    expect(doing(swarm).steps).toBeGreaterThan(stepsPerEpoch);
  });

  it("changes nothing where it was not made to, and says at most daily what would be better", () => {
    const swarm = swarmWith({});
    const before = doing(swarm);
    measure(swarm, tight / 10);
    finishEpochs(swarm, 3);
    expect(doing(swarm)).toEqual(before);
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
