import { describe, expect, it } from "vitest";
import { presets } from "../compute/model/presets.ts";
import { stageBudget } from "../compute/model/stage-budget.ts";
import { cutIntoStages } from "../compute/model/stages.ts";
import { exampleWork, memoryReport } from "./memory-report.ts";

const { model, training } = presets["25m"];
const works = cutIntoStages(model, 4).map((stage) => ({ model, training, stage }));
const gibibyte = 2 ** 30;

describe("a stage's budget", () => {
  it("has room for the microbatches that the stage holds at once", () => {
    const inFlight = works.map((work) => stageBudget(work, gibibyte).microbatchesInFlight);
    expect(inFlight).toEqual([4, 8, 8, 1]);
  });

  it("is what the programs themselves leave of the person's limit", () => {
    const [first] = works;
    if (first === undefined) throw new Error("four stages");
    const { memoryLimitBytes } = stageBudget(first, gibibyte);
    expect(memoryLimitBytes + memoryReport(first, gibibyte, 5 << 20).programsBytes).toBe(gibibyte);
    expect(stageBudget(first, 1).memoryLimitBytes).toBe(0);
  });
});

describe("a memory report", () => {
  it("adds up", () => {
    for (const work of [exampleWork(), ...works]) {
      const report = memoryReport(work, 4 * gibibyte, 5 << 20);
      const { weightsBytes, gradientsBytes, optimizerBytes, errorFeedbackBytes, exchangeBytes } = report;
      const { scratchBytes, programsBytes } = report;
      const inFlightBytes = report.microbatchesInFlight * report.activationsPerMicrobatchBytes;
      const sum =
        weightsBytes +
        gradientsBytes +
        optimizerBytes +
        errorFeedbackBytes +
        exchangeBytes +
        scratchBytes +
        programsBytes +
        inFlightBytes;
      expect(report.neededBytes).toBe(sum);
      expect(report.stage).toBe(work.stage.index);
    }
  });

  it("says that activations are computed again where memory is short, and how much is needed where that is not enough", () => {
    const [, middle] = works;
    if (middle === undefined) throw new Error("four stages");
    const roomy = memoryReport(middle, 4 * gibibyte, 5 << 20);
    expect(roomy.recompute).toBe(false);
    const tight = memoryReport(middle, roomy.neededBytes - 1, 5 << 20);
    expect(tight.recompute).toBe(true);
    expect(tight.neededBytes).toBeLessThan(roomy.neededBytes / 2);
    const refused = memoryReport(middle, tight.neededBytes - 1, 5 << 20);
    expect(refused.neededBytes).toBeGreaterThan(refused.limitBytes);
  });
});
