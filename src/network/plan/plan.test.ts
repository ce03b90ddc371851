import { describe, expect, it } from "vitest";
import { presets } from "../../compute/model/presets.ts";
import { unmeasuredLink } from "../../protocol/link-report.ts";
import type { Plan } from "../../protocol/plan-view.ts";
import { noCompression } from "../../protocol/run-config.ts";
import { stalenessCosts } from "./choices.ts";
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
    tokenBudget: null,
    memoryLimitBytes: null,
    decided: {},
    ...part,
  };
}

/** Of what is rounded. */
const compressionGap = ({ costs }: Plan) =>
  costs.reduce((sum, { part, lossGapPercent }) => (part === "steps" ? sum : sum + lossGapPercent), 0);
const partOf = ({ costs }: Plan, part: Plan["costs"][number]["part"]) => costs.find((cost) => cost.part === part);

/** With bottlenecks of rank 32, and everything else as it was measured together at width 256. */
function squeezed(preset: "demo" | "25m" | "100m"): PlanRequest {
  const { model, training } = presets[preset];
  const bottleneck = { rank: 32, hidden: 64, beforeLayers: [2, 4] };
  const inTwoBits = { kind: "dense", bits: 2 } as const;
  const compression = {
    boundary: { forward: "int8", backward: "int4" },
    exchange: { codec: inTwoBits, lag: 1 },
    merge: inTwoBits,
  } as const;
  return request({ model: { ...model, bottleneck }, training: { ...training, compression } });
}

describe("a plan", () => {
  it("rounds nothing at boundaries and in merges that a link carries anyway", () => {
    const { compression, bottleneckRank } = planRun(request({ link: linkOf(1000, 1000) }));
    expect(compression.boundary).toEqual(noCompression.boundary);
    expect([compression.merge, bottleneckRank]).toEqual([{ kind: "f32" }, null]);
  });

  it("takes a home's link where none was measured, and fills no more than 60 % of it", () => {
    const plan = planRun(request());
    expect(plan.link).toEqual(linkOf(20, 100));
    const share = (of: "uplinkShare" | "downlinkShare") => plan.costs.reduce((sum, cost) => sum + cost[of], 0);
    expect(share("uplinkShare")).toBeLessThanOrEqual(0.6);
    expect(share("downlinkShare")).toBeLessThanOrEqual(0.6);
    const waiting = ["boundaries", "exchange", "merge"] as const;
    expect(waiting.reduce((sum, part) => sum + (partOf(plan, part)?.waitShare ?? 0), 0)).toBeLessThanOrEqual(0.1);
  });

  it("costs ever less of the loss the faster the link is, once it bears anything", () => {
    for (const preset of ["demo", "100m"] as const) {
      const { model, training } = presets[preset];
      const gaps = [2, 5, 20, 100, 1000].map((up) =>
        compressionGap(planRun(request({ model, training, link: linkOf(up, 5 * up) }))),
      );
      expect(gaps, preset).toEqual(gaps.toSorted((a, b) => b - a));
      expect(gaps[0]).toBeGreaterThan(gaps.at(-1) ?? 0);
    }
  });

  it("keeps the bottlenecks that a model has, of whatever rank", () => {
    const { model } = presets["100m"];
    for (const rank of [3, 16, 32, 100]) {
      const bottleneck = { rank, hidden: 64, beforeLayers: [4, 8] };
      const plan = planRun(request({ model: { ...model, bottleneck }, decided: { bottleneckRank: rank } }));
      expect(plan.bottleneckRank).toBe(rank);
    }
  });

  it("says what every part costs, and where that was measured", () => {
    const { costs } = planRun(request());
    expect(costs.map(({ part }) => part)).toEqual(["boundaries", "exchange", "merge", "steps", "checkpoint"]);
    for (const { lossGapPercent, measured } of costs) if (measured === null) expect(lossGapPercent).toBeGreaterThan(0);
  });

  it("leaves training what its parts do not make it wait", () => {
    const { efficiency, costs } = planRun(request({ link: linkOf(2, 2) }));
    expect(efficiency + costs.reduce((sum, { waitShare }) => sum + waitShare, 0)).toBeCloseTo(1, 9);
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
    const sync = { ...training, mode: "sync", stepsPerEpoch: 1 } as const;
    const plan = planRun(request({ model, training: sync, link: linkOf(1, 1) }));
    const { microbatchesPerStep, sequencesPerMicrobatch } = training;
    expect(plan).toMatchObject({ compression: noCompression, bottleneckRank: null, stepsPerEpoch: 1 });
    expect(plan).toMatchObject({ microbatchesPerStep, sequencesPerMicrobatch });
  });

  it("changes nothing that is decided", () => {
    const decided = {
      forward: "int4",
      backward: "bf16",
      bottleneckRank: null,
      exchange: { codec: { kind: "dense", bits: 4 }, lag: 1 },
      merge: { kind: "dense", bits: 1 },
      batch: { microbatchesPerStep: 3, sequencesPerMicrobatch: 5 },
      stepsPerEpoch: 7,
    } as const;
    const { forward, backward, exchange, merge, batch, ...rest } = decided;
    const compression = { boundary: { forward, backward }, exchange, merge };
    expect(planRun(request({ decided }))).toMatchObject({ compression, ...batch, ...rest });
  });

  it("makes no epoch last longer than twenty minutes, however slow the link is", () => {
    for (const preset of ["demo", "25m", "100m"] as const)
      for (const up of [0.001, 0.01, 0.05, 0.2, 1]) {
        const { model, training } = presets[preset];
        const plan = planRun(request({ model, training, link: linkOf(up, up) }));
        const { stepsPerEpoch, tokensPerStep, tokensPerSecond, efficiency } = plan;
        const tokens = (stepsPerEpoch * tokensPerStep) / 2;
        const { sequenceLength, sequencesPerMicrobatch, microbatchesPerStep } = training;
        const asked = training.stepsPerEpoch * microbatchesPerStep * sequencesPerMicrobatch * sequenceLength;
        if (tokens > asked) expect(tokens / (tokensPerSecond * efficiency), `${preset} at ${up}`).toBeLessThan(1200);
      }
  });

  it("gets as far as it can where nothing is mild enough", () => {
    const plan = planRun(request({ link: linkOf(0.05, 0.05) }));
    expect(plan.efficiency).toBeGreaterThan(0);
    expect(plan.lossGapPercent).toBeGreaterThan(3);
  });

  it("says of a bottleneck what was measured in the widest model that is no wider", () => {
    for (const [preset, width, lossGapPercent] of [
      ["demo", 256, 0.7],
      ["25m", 512, 2.7],
      ["100m", 512, 2.7],
    ] as const) {
      const boundaries = partOf(planAsConfigured(squeezed(preset)), "boundaries");
      expect(boundaries).toMatchObject({ lossGapPercent });
      expect(boundaries?.measured).toContain(`width ${width}`);
    }
  });

  it("does not take what was measured together for a model in which the parts cost more", () => {
    const wide = planAsConfigured(squeezed("25m"));
    expect(wide.measured).toBeNull();
    expect(wide.lossGapPercent).toBeCloseTo(compressionGap(wide), 2);
    expect(planAsConfigured(squeezed("demo")).lossGapPercent).toBe(0);
  });

  it("adds up what parts cost, unless they were measured together", () => {
    const { model, training } = presets.demo;
    const bottleneck = { rank: 32, hidden: 128, beforeLayers: [2, 4] };
    const as = (lag: 0 | 1, bits: 1 | 2) => {
      const exchange = { codec: { kind: "dense", bits: 2 }, lag } as const;
      const merge = { kind: "dense", bits } as const;
      const boundary = { forward: "int8", backward: bits === 2 ? "int4" : "int2" } as const;
      const configured = { ...training, compression: { boundary, exchange, merge } };
      return planAsConfigured(request({ model: { ...model, bottleneck }, training: configured }));
    };
    const together = as(1, 2);
    expect(together.measured).toContain("bench -- swarm");
    expect(together.lossGapPercent).toBeLessThan(compressionGap(together));
    const harsher = as(1, 1);
    expect(harsher.measured).toBeNull();
    expect(harsher.lossGapPercent).toBeCloseTo(compressionGap(harsher), 2);
  });
});

describe("a plan's steps", () => {
  it("take as many tokens as it takes to keep the pipeline busy, and the loss can bear", () => {
    const near = planRun(request({ link: { ...linkOf(1000, 1000), roundTripMs: 0 } }));
    const { training, model } = presets.demo;
    const far = planRun(request({ model, training, link: { ...linkOf(20, 100), roundTripMs: 200 } }));
    const askedOf = ({ sequencesPerMicrobatch, microbatchesPerStep, sequenceLength }: typeof training) =>
      2 * sequencesPerMicrobatch * microbatchesPerStep * sequenceLength;
    expect(near.tokensPerStep).toBe(askedOf(presets["100m"].training));
    expect(far.tokensPerStep).toBeGreaterThan(askedOf(training));
    expect(partOf(far, "steps")?.lossGapPercent).toBeGreaterThan(0);
    expect(partOf(far, "steps")?.lossGapPercent).toBeLessThanOrEqual(4);
  });

  it("take fewer in a short run, which has none to waste", () => {
    const { training, model } = presets.demo;
    const tokensWith = (tokenBudget: number) => planRun(request({ model, training, tokenBudget })).tokensPerStep;
    expect(tokensWith(300_000)).toBeLessThan(tokensWith(300_000_000));
  });

  it("come in microbatches so small that the pipeline fills soon, but of 512 tokens at the least", () => {
    const plan = planRun(request());
    expect(plan.sequencesPerMicrobatch).toBe(1);
    const { training, ...rest } = request();
    const short = planRun({ ...rest, training: { ...training, sequenceLength: 256 } });
    expect(short.sequencesPerMicrobatch).toBe(2);
  });

  it("take no more than a miner's memory holds", () => {
    const with4 = { ...presets["1b"], stages: 6 };
    const ample = planRun(request({ ...with4, memoryLimitBytes: 64 * 2 ** 30 }));
    const tight = planRun(request({ ...with4, memoryLimitBytes: 2 ** 30 }));
    const asked = 2 * 16 * with4.training.sequenceLength;
    expect(tight.tokensPerStep).toBe(asked);
    expect(ample.tokensPerStep).toBeGreaterThan(asked);
  });

  it("have no more microbatches under way than there are, and as many as hide the round trips", () => {
    const near = planRun(request({ link: { ...linkOf(1000, 1000), roundTripMs: 0 } }));
    const far = planRun(request({ link: { ...linkOf(1000, 1000), roundTripMs: 5000 } }));
    expect(near.microbatchesInFlight).toBe(5);
    expect(far.microbatchesInFlight).toBeGreaterThanOrEqual(near.microbatchesInFlight);
    expect(far.microbatchesInFlight).toBeLessThanOrEqual(far.microbatchesPerStep);
  });

  it("cost loss where they are computed ahead of, and wait for no pipeline then", () => {
    const { model, training } = presets["100m"];
    const ahead = planAsConfigured(request({ model, training: { ...training, maximumStaleness: 1 } }));
    expect(partOf(ahead, "steps")).toMatchObject({ waitShare: 0, lossGapPercent: stalenessCosts.adamw.lossGapPercent });
  });
});
