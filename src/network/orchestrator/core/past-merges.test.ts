import { describe, expect, it } from "vitest";
import { presets } from "../../../compute/model/presets.ts";
import { mostMergers, mostPastMerges } from "../../../protocol/gateway-messages.ts";
import { manifestOf } from "../../../protocol/partitions.ts";
import { mergeCodecs, noCompression } from "../../../protocol/run-config.ts";
import { FakeSwarm, fakeDefinition, fakeMiner } from "./fake-swarm.ts";

const training = { ...presets.tiny.training, compression: { ...noCompression, merge: mergeCodecs.dense2 } };

/** One stage. */
function swarmOf(replicas: number, changes: Partial<typeof training> = {}): FakeSwarm {
  const definition = { stages: 1, minimumReplicas: Math.min(2, replicas), training: { ...training, ...changes } };
  const swarm = new FakeSwarm(fakeDefinition(definition));
  swarm.join(...Array.from({ length: replicas }, (_, index) => index + 1));
  return swarm;
}
const mergesOf = (swarm: FakeSwarm) => swarm.state.start?.stages[0]?.merges ?? [];

describe("the merges of a run", () => {
  it("are remembered as what led from one epoch's weights to the next", () => {
    const swarm = swarmOf(3);
    swarm.finishEpoch();
    const ready = swarm.events.flatMap((event) =>
      event.type === "message" && event.message.type === "ready" ? [event.message.weightsHash] : [],
    );
    const applied = swarm.sent("apply")[0]?.message;
    const tokens = applied?.tokens;
    const slices = manifestOf(applied?.slices.map((slice) => slice?.hash ?? null) ?? []);
    expect(mergesOf(swarm)).toEqual([{ from: ready[0], slices, replicas: 3, tokens }]);
    const before = swarm.state.start?.stages[0]?.weightsHash;
    swarm.finishEpoch();
    expect(mergesOf(swarm)).toHaveLength(2);
    expect(mergesOf(swarm)[1]).toMatchObject({ from: before, replicas: 3 });
  });

  it("are forgotten when there are more than anybody keeps", () => {
    const swarm = swarmOf(2);
    for (let epoch = 0; epoch < mostPastMerges + 2; epoch++) swarm.finishEpoch();
    expect(mergesOf(swarm)).toHaveLength(mostPastMerges);
    expect(new Set(mergesOf(swarm).map(({ from }) => from)).size).toBe(mostPastMerges);
  });

  it("are not worth remembering where slices are as long as the weights", () => {
    const swarm = swarmOf(2, { compression: noCompression });
    swarm.finishEpoch();
    expect(mergesOf(swarm)).toEqual([]);
  });

  it("do not lead to a checkpoint that the run went back to", () => {
    const swarm = swarmOf(2);
    swarm.finishEpoch();
    swarm.finishUpload();
    swarm.finishEpoch();
    expect(mergesOf(swarm)).toHaveLength(2);
    swarm.loseForGood(1, 2);
    expect(swarm.state.start).toMatchObject({ epoch: 2, tokens: swarm.state.checkpoint?.tokens });
    expect(mergesOf(swarm)).toEqual([]);
  });

  it("are told to who has to load the state, with some of those who have what was merged", () => {
    const swarm = swarmOf(mostMergers + 3);
    swarm.finishEpoch();
    swarm.reach("training");
    swarm.join(99);
    const prepared = swarm.sent("prepare").filter(({ to }) => to === fakeMiner(99));
    const checkpoint = prepared.at(-1)?.message.checkpoint;
    expect(checkpoint?.merges).toEqual(mergesOf(swarm));
    expect(checkpoint?.mergers).toHaveLength(mostMergers);
    expect(checkpoint?.mergers).not.toContain(fakeMiner(99));
  });
});
