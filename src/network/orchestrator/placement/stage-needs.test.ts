import { describe, expect, it } from "vitest";
import { stageMemory } from "../../../compute/model/memory-plan.ts";
import { cutIntoStages } from "../../../compute/model/stages.ts";
import { fakeDefinition } from "../core/fake-swarm.ts";
import { stageNeeds } from "./stage-needs.ts";

describe("what stages need", () => {
  const definition = fakeDefinition({ stages: 3 });
  const needs = stageNeeds(definition);

  it("is memory for the leanest plan", () => {
    const { model, training } = definition;
    const plans = cutIntoStages(model, 3).map((stage) =>
      stageMemory({ model, stage, training }, { microbatchesInFlight: 1, workspaceBytes: 0 }, true),
    );
    expect(needs.map(({ memoryBytes }) => memoryBytes)).toEqual(plans.map(({ totalBytes }) => totalBytes));
  });

  it("is a block's work for each block, and the head's at the end", () => {
    const blocks = cutIntoStages(definition.model, 3).map(({ fromLayer, toLayer }) => toLayer - fromLayer);
    expect(needs.slice(0, 2).map(({ work }) => work)).toEqual(blocks.slice(0, 2));
    expect(needs[2]?.work).toBeGreaterThan(blocks[2] ?? 0);
  });

  it("is traffic for each boundary, both ways", () => {
    const perBoundary = 2 * 4 * definition.model.width;
    expect(needs.map(({ bytesPerToken }) => bytesPerToken)).toEqual([perBoundary, 2 * perBoundary, perBoundary]);
    expect(stageNeeds(fakeDefinition({ stages: 1 }))[0]?.bytesPerToken).toBe(0);
  });
});
