import { describe, expect, it } from "vitest";
import { tokensPerSource } from "./definition.ts";
import { FakeSwarm, fakeDefinition, fakeMiner } from "./fake-swarm.ts";

describe("a claim", () => {
  const definition = fakeDefinition({ stages: 2 });
  const share = tokensPerSource(definition.training);
  /** Two replicas of each stage, whose contributions are asked for. */
  function uploading() {
    const swarm = new FakeSwarm(definition);
    swarm.join(1, 2, 3, 4);
    swarm.reach("uploading");
    const ofStage = (stage: number) =>
      swarm.state.replicas[stage]?.map(({ minerId }) => Number.parseInt(minerId, 16)) ?? [];
    const claiming = (index: number, tokens: number) =>
      swarm.say(fakeMiner(index), { ...swarm.report(index, "contributed"), tokens });
    const earned = (index: number) => swarm.state.uncredited.find((one) => one.minerId === fakeMiner(index))?.tokens;
    return { swarm, sources: ofStage(0), others: ofStage(1), claiming, earned };
  }

  it("of a source to more than its share of the microbatches is refused, and counted", () => {
    const { swarm, sources, claiming, earned } = uploading();
    const [liar = 0, honest = 0] = sources;
    claiming(liar, share + 1);
    expect(swarm.state.replicas[0]).toMatchObject([{ part: "out", contribution: null }, { part: "live" }]);
    expect(swarm.state.members.find(({ minerId }) => minerId === fakeMiner(liar))).toMatchObject({
      refusedClaims: 1,
      unreliable: true,
    });
    expect(swarm.state.log.at(-1)?.text).toContain(`it claims ${share + 1} tokens of ${share} (1 refused so far)`);
    swarm.finishEpoch();
    expect([earned(liar), earned(honest)]).toEqual([undefined, share]);
    expect(swarm.state.tokens).toBe(share);
  });

  it("of one of two replicas to all that passed through their stage takes nothing from the other, and counts as its share", () => {
    const { swarm, others, claiming, earned } = uploading();
    const [liar = 0, honest = 0] = others;
    claiming(liar, 2 * share);
    swarm.reach("merging");
    expect(
      swarm
        .sent("reduce")
        .at(-1)
        ?.message.contributions.map(({ tokens }) => tokens),
    ).toEqual([share, share]);
    swarm.finishEpoch();
    expect([earned(liar), earned(honest)]).toEqual([share, share]);
  });
});
