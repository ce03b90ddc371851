import { describe, expect, it } from "vitest";
import { planStageMemory } from "../../../compute/model/memory-plan.ts";
import { stageBudget } from "../../../compute/model/stage-budget.ts";
import { cutIntoStages } from "../../../compute/model/stages.ts";
import { fakeDefinition } from "../core/fake-swarm.ts";
import { stageNeeds } from "./stage-needs.ts";

describe("what stages need", () => {
  const definition = fakeDefinition({ stages: 3 });
  const needs = stageNeeds(definition);

  it("is memory for the leanest plan that a miner makes within it", () => {
    const { model, training } = definition;
    for (const [index, stage] of cutIntoStages(model, 3).entries()) {
      const { memoryLimitBytes, microbatchesInFlight } = stageBudget(
        { stage, training },
        needs[index]?.memoryBytes ?? 0,
      );
      const work = { model, stage, training };
      const plan = planStageMemory(work, { microbatchesInFlight, workspaceBytes: 0 }, memoryLimitBytes);
      expect(plan.totalBytes).toBeGreaterThan(0.9 * memoryLimitBytes);
    }
  });

  it("is a block's work for each block, and the head's at the end", () => {
    const blocks = cutIntoStages(definition.model, 3).map(({ fromLayer, toLayer }) => toLayer - fromLayer);
    expect(needs.slice(0, 2).map(({ work }) => work)).toEqual(blocks.slice(0, 2));
    expect(needs[2]?.work).toBeGreaterThan(blocks[2] ?? 0);
  });

  it("is traffic for each boundary, both ways", () => {
    const { sequenceLength, sequencesPerMicrobatch } = definition.training;
    const header = 8 / (sequenceLength * sequencesPerMicrobatch);
    const perBoundary = 2 * (4 * definition.model.width + header);
    const traffic = needs.map(({ bytesPerToken }) => bytesPerToken / perBoundary);
    for (const [stage, boundaries] of [1, 2, 1].entries()) expect(traffic[stage]).toBeCloseTo(boundaries, 10);
    expect(stageNeeds(fakeDefinition({ stages: 1 }))[0]?.bytesPerToken).toBe(0);
  });
});
