import { describe, expect, it } from "vitest";
import { modelConfigSchema, trainingConfigSchema } from "../../protocol/run-config.ts";
import { stageLayout } from "./layout.ts";
import { presets } from "./presets.ts";
import { cutIntoStages, parameterCount, wholeModel } from "./stages.ts";

describe("presets", () => {
  it("are valid, and can be cut as they say", () => {
    for (const preset of Object.values(presets)) {
      modelConfigSchema.parse(preset.model);
      trainingConfigSchema.parse(preset.training);
      expect(preset.training.sequenceLength).toBeLessThanOrEqual(preset.model.context);
      expect(cutIntoStages(preset.model, preset.stages)).toHaveLength(preset.stages);
    }
  });

  it("have the sizes in their names", () => {
    const millions = (name: keyof typeof presets) => parameterCount(presets[name].model) / 1e6;
    expect(millions("demo")).toBeCloseTo(4.95, 1);
    expect(millions("25m")).toBeCloseTo(25.6, 0);
    expect(millions("100m")).toBeCloseTo(100, -1);
    expect(millions("1b") / 1000).toBeCloseTo(1.2, 1);
    expect(millions("8b") / 1000).toBeCloseTo(7.4, 1);
  });

  it("include the 100B model exactly, cut as it was published", () => {
    const { model } = presets["100b"];
    expect(parameterCount(model)).toBe(99_615_863_808);
    const layers = cutIntoStages(model, 23).map((stage) => stage.toLayer - stage.fromLayer);
    expect(layers).toEqual([3, ...new Array<number>(21).fill(4), 3]);
  });
});

describe("a model's cut", () => {
  it("covers every layer once, in order, with all of the model's parameters", () => {
    const { model } = presets.demo;
    for (let count = 1; count <= model.layers; count++) {
      const stages = cutIntoStages(model, count);
      expect(stages.map((stage) => stage.fromLayer)).toEqual([0, ...stages.slice(0, -1).map((stage) => stage.toLayer)]);
      expect(stages.at(-1)?.toLayer).toBe(model.layers);
      const parameters = stages.map((stage) => stageLayout(model, stage).length);
      expect(parameters.reduce((sum, length) => sum + length)).toBe(parameterCount(model));
    }
    expect(cutIntoStages(model, 1)).toEqual([wholeModel(model)]);
  });

  it("refuses more stages than layers", () => {
    expect(() => cutIntoStages(presets.tiny.model, 4)).toThrow(RangeError);
  });
});
