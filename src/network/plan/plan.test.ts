import { describe, expect, it } from "vitest";
import { presets } from "../../compute/model/presets.ts";
import { unmeasuredLink } from "../../protocol/link-report.ts";
import { noCompression } from "../../protocol/run-config.ts";
import { type PlanRequest, planAsConfigured, planRun } from "./plan.ts";

const megabit = 125_000;
const linkOf = (up: number, down: number) => ({
  upBytesPerSecond: up * megabit,
  downBytesPerSecond: down * megabit,
  roundTripMs: 40,
});

function request(part: Partial<PlanRequest> = {}): PlanRequest {
  const { model, training } = presets["100m"];
  return {
    model,
    training,
    stages: 3,
    replicas: 2,
    blockTokensPerSecond: null,
    link: unmeasuredLink,
    isNew: true,
    ...part,
  };
}

describe("a plan", () => {
  it("compresses nothing that a link carries anyway", () => {
    const { compression, bottleneckRank, lossGapPercent } = planRun(request({ link: linkOf(1000, 1000) }));
    expect(compression.boundary).toEqual(noCompression.boundary);
    expect([compression.merge, bottleneckRank, lossGapPercent]).toEqual([{ kind: "f32" }, null, 0]);
  });

  it("takes a home's link where none was measured, and fills no more than 60 % of it", () => {
    const plan = planRun(request());
    expect(plan.link).toEqual(linkOf(20, 100));
    const share = (of: "uplinkShare" | "downlinkShare") => plan.costs.reduce((sum, cost) => sum + cost[of], 0);
    expect(share("uplinkShare")).toBeLessThanOrEqual(0.6);
    expect(share("downlinkShare")).toBeLessThanOrEqual(0.6);
    expect(plan.efficiency).toBeGreaterThanOrEqual(0.9);
  });

  it("costs ever less of the loss the faster the link is", () => {
    const gaps = [2, 5, 20, 100, 1000].map((up) => planRun(request({ link: linkOf(up, 5 * up) })).lossGapPercent);
    expect(gaps).toEqual(gaps.toSorted((a, b) => b - a));
    expect(gaps[0]).toBeGreaterThan(gaps.at(-1) ?? 0);
  });

  it("keeps the bottlenecks that a model has, of whatever rank", () => {
    const { model } = presets["100m"];
    for (const rank of [3, 32, 100]) {
      const bottleneck = { rank, hidden: 64, beforeLayers: [4, 8] };
      const plan = planRun(request({ model: { ...model, bottleneck }, isNew: false }));
      expect(plan.bottleneckRank).toBe(rank);
    }
  });

  it("says what every part costs, and where that was measured", () => {
    const { costs } = planRun(request());
    expect(costs.map(({ part }) => part)).toEqual(["boundaries", "exchange", "merge", "checkpoint"]);
    const measured = costs.filter((cost) => cost.lossGapPercent > 0 && cost.measured !== null);
    for (const cost of measured) expect(cost.measured).toContain("prototype");
  });

  it("counts what crosses a boundary as the codec has it: 4 bytes per channel and direction uncompressed", () => {
    const { model } = presets["100m"];
    const [boundaries] = planAsConfigured(request()).costs;
    expect(boundaries?.bytesPerToken).toBeGreaterThanOrEqual(2 * 4 * model.width);
    expect(boundaries?.bytesPerToken).toBeLessThan(2 * 4 * model.width + 1);
  });

  it("leaves a model without boundaries or other replicas alone", () => {
    const plan = planRun(request({ stages: 1, replicas: 1, link: linkOf(0.1, 0.1) }));
    expect(plan).toMatchObject({ compression: noCompression, bottleneckRank: null, efficiency: 1 });
  });

  it("never changes what a sync run computes", () => {
    const { model, training } = presets["100m"];
    const plan = planRun(
      request({ model, training: { ...training, mode: "sync", stepsPerEpoch: 1 }, link: linkOf(1, 1) }),
    );
    expect(plan).toMatchObject({ compression: noCompression, bottleneckRank: null, stepsPerEpoch: 1 });
  });

  it("gives no bottleneck to a model that was trained without one, and keeps the one that there is", () => {
    const { model } = presets["100m"];
    const slow = linkOf(2, 2);
    expect(planRun(request({ link: slow, isNew: false })).bottleneckRank).toBeNull();
    const squeezed = { ...model, bottleneck: { rank: 32, hidden: 64, beforeLayers: [1] } };
    expect(planRun(request({ model: squeezed, isNew: false, link: linkOf(1000, 1000) })).bottleneckRank).toBe(32);
  });

  it("gets as far as it can where nothing is mild enough", () => {
    const plan = planRun(request({ link: linkOf(0.05, 0.05) }));
    expect(plan.efficiency).toBeGreaterThan(0);
    expect(plan.lossGapPercent).toBeGreaterThan(3);
  });

  it("keeps no more microbatches under way than a step has, and as many as hide the round trips", () => {
    const near = planRun(request({ link: { ...linkOf(1000, 1000), roundTripMs: 0 } }));
    const far = planRun(request({ link: { ...linkOf(1000, 1000), roundTripMs: 5000 } }));
    expect(near.microbatchesInFlight).toBe(3);
    expect(far.microbatchesInFlight).toBeGreaterThanOrEqual(near.microbatchesInFlight);
    expect(far.microbatchesInFlight).toBeLessThanOrEqual(Math.max(3, presets["100m"].training.microbatchesPerStep));
  });
});
