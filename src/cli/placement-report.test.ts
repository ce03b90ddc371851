import { describe, expect, it } from "vitest";
import { exampleRun } from "../../test/contract/example-views.ts";
import { placementView } from "../network/orchestrator/placement/explain.ts";
import { fakeMiner, fakeMinerId, fakeStages } from "../network/orchestrator/placement/fake-miners.ts";
import { place } from "../network/orchestrator/placement/placement.ts";
import { placementReport, placementReportSchema, placementText } from "./placement-report.ts";

const mebibyte = 2 ** 20;

/** Two stages: one miner holds both, one holds a stage already, and one is too small. */
function exampleReport() {
  const stages = fakeStages(2, { memoryBytes: 100 * mebibyte });
  const miners = [250, 150, 50].map((size, index) => fakeMiner(index, { memoryBytes: size * mebibyte }));
  const request = { stages, miners, current: [{ minerId: fakeMinerId(1), stages: [0] }] };
  const replicas = ["Ada", "Ben", "Cy"].map((name, index) => ({
    minerId: fakeMinerId(index),
    name,
    state: "training" as const,
  }));
  return placementReport(
    exampleRun({
      stages: [{ index: 0, fromLayer: 0, toLayer: 1, parameters: 1, replicas }],
      placement: placementView(request, place(request)),
    }),
  );
}

describe("tah run placement", () => {
  it("says of each miner what it holds and why", () => {
    const report = placementReportSchema.parse(exampleReport());
    const [ada, ben, cy] = report.miners;
    expect(ada?.places.map(({ stage, reason }) => [stage, reason])).toEqual([
      [0, "second-replica"],
      [1, "first-replica"],
    ]);
    expect(ben?.places).toMatchObject([{ stage: 0, reason: "kept", freeBytes: 50 * mebibyte }]);
    expect(cy).toMatchObject({ places: [], idle: { neededBytes: 100 * mebibyte, memoryBytes: 50 * mebibyte } });
  });

  it("says who would be missed", () => {
    const report = exampleReport();
    expect(report?.miners[0]?.departure?.uncovered).toEqual([1]);
    expect(report?.miners[2]?.departure).toBeNull();
  });

  it("tells people in sentences", () => {
    const report = exampleReport();
    expect(report && placementText(report)).toBe(
      [
        "run demo: 100 tokens/s pass through all 2 stages",
        "  stage 1 of 2: 100 tokens/s, the bottleneck",
        "  stage 2 of 2: 100 tokens/s, the bottleneck",
        "  Ada",
        "    stage 1: it had no second reliable replica (0 % of its rate; needs 100 MiB, 50 MiB free)",
        "    stage 2: nobody else held it (100 % of its rate; needs 100 MiB, 50 MiB free)",
        "    without it nobody holds stage 2",
        "  Ben",
        "    stage 1: kept, for it holds the weights already (100 % of its rate; needs 100 MiB, 50 MiB free)",
        "    without it 50 % of the tokens per second are left",
        "  Cy",
        "    idle: no stage fits its memory: the smallest needs 100 MiB, it has 50 MiB",
      ].join("\n"),
    );
  });

  it("has nothing to say before anybody was placed", () => {
    expect(placementReport(exampleRun({ placement: null }))).toBeNull();
  });
});
