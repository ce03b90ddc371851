/**
 * What a plan chooses from, and what each choice costs of the loss: one row for each thing that was measured, or that lies between two
 * that were (`measured` is null then, and the figure is an estimate). The measurements are small ones, and seeds differ by about a
 * point: good for an order, not for a promise.
 */
import type { BoundaryFormats, Compression, VectorCodec } from "../../protocol/run-config.ts";

export interface Evidence {
  /** Of the validation loss, against the same schedule uncompressed. */
  readonly lossGapPercent: number;
  readonly measured: string | null;
}

export interface BoundaryChoice extends Evidence {
  readonly formats: BoundaryFormats;
  /** Channels of the bottleneck; null: all channels cross. */
  readonly rank: number | null;
  /** Of the model that it was measured with; null: nothing was measured, and it may have any. */
  readonly width: number | null;
}

export interface ExchangeChoice extends Evidence {
  readonly exchange: Compression["exchange"];
  /** That it was measured with; null: with any. */
  readonly replicas: number | null;
}

export interface MergeChoice extends Evidence {
  readonly codec: VectorCodec;
}

/** Parts that were measured together: what is as mild in every part costs no more than that, whatever the parts' own gaps add up to. */
export interface JointMeasurement extends Evidence {
  readonly boundary: Pick<BoundaryChoice, "formats" | "rank">;
  readonly width: number;
  readonly exchange: Compression["exchange"];
  readonly merge: VectorCodec;
  readonly replicas: number;
}

const nothing: Evidence = { lossGapPercent: 0, measured: "nothing is rounded" };
const estimate = (lossGapPercent: number): Evidence => ({ lossGapPercent, measured: null });

const boundaryBench = "npm run bench -- boundary, 6 layers, 3 stages, 0.5 M tokens, two seeds";
const boundaryPrototype = "PyTorch prototype, 6 layers, 3 stages, 0.25–0.5 M tokens";
const mergesBench = "npm run bench -- merges, width 128, 6 layers, 0.5 M tokens";

/** Mildest first, of each width. */
export const boundaryChoices: readonly BoundaryChoice[] = [
  { formats: { forward: "f32", backward: "f32" }, rank: null, width: null, ...nothing },
  { formats: { forward: "bf16", backward: "bf16" }, rank: null, width: null, ...estimate(0.1) },
  { formats: { forward: "int8", backward: "int8" }, rank: null, width: null, ...estimate(0.3) },
  { formats: { forward: "int8", backward: "int4" }, rank: null, width: null, ...estimate(0.8) },
  ...measuredAt(256, [
    ["int8", "int8", 32, 0.6, null],
    ["int8", "int4", 32, 0.7, boundaryBench],
    ["int8", "int4", 16, 1.6, boundaryBench],
    ["int4", "int4", null, 2.5, boundaryPrototype],
    ["int8", "int2", 32, 2.8, null], // the prototype had another quantiser of two bits
    ["int4", "int4", 32, 3.9, boundaryPrototype],
  ]),
  // What was not measured at this width is as much milder or harsher than what was as at the other one.
  ...measuredAt(512, [
    ["int8", "int8", 32, 2.6, null],
    ["int8", "int4", 32, 2.7, boundaryBench],
    ["int8", "int4", 16, 3.4, boundaryBench],
    ["int8", "int4", 8, 4.2, boundaryBench],
    ["int8", "int2", 32, 4.8, null],
    ["int4", "int4", 32, 5.9, null],
  ]),
];

export const exchangeChoices: readonly ExchangeChoice[] = [
  { exchange: { codec: { kind: "dense", bits: 8 }, lag: 0 }, replicas: 2, ...estimate(0.3) },
  { exchange: { codec: { kind: "dense", bits: 8 }, lag: 0 }, replicas: 4, ...estimate(1.0) },
  { exchange: { codec: { kind: "dense", bits: 4 }, lag: 0 }, replicas: 2, ...estimate(0.35) },
  { exchange: { codec: { kind: "dense", bits: 4 }, lag: 0 }, replicas: 4, ...estimate(1.05) },
  ...exchangesInTwoBits(0, [
    [2, 0.4],
    [4, 1.1],
  ]),
  ...exchangesInTwoBits(1, [
    [2, 0.8],
    [4, 1.8],
  ]),
  { exchange: null, replicas: 2, lossGapPercent: 3.8, measured: mergesBench },
  { exchange: null, replicas: 4, lossGapPercent: 8.7, measured: mergesBench },
];

/** Between two merges, where it was measured what it costs to meet at merges only. */
export const measuredStepsPerEpoch = 15;

export const mergeChoices: readonly MergeChoice[] = [
  { codec: { kind: "f32" }, ...nothing },
  { codec: { kind: "dense", bits: 8 }, ...estimate(0.05) },
  { codec: { kind: "dense", bits: 4 }, ...estimate(0.1) },
  { codec: { kind: "dense", bits: 2 }, lossGapPercent: 0.2, measured: mergesBench },
  { codec: { kind: "dense", bits: 1 }, lossGapPercent: 2.8, measured: mergesBench },
  { codec: { kind: "top-k", share: 0.1 }, lossGapPercent: 7.8, measured: mergesBench },
  { codec: { kind: "top-k", share: 0.01 }, lossGapPercent: 35, measured: mergesBench },
];

/**
 * What merges round where every step is exchanged: replicas bring little that the others lack. `upToPercent`: of merges whose rounding
 * costs no more without an exchange; harsher ones were not measured with it.
 */
export const mergeBehindExchange: Evidence & { readonly upToPercent: number } = {
  lossGapPercent: 0,
  measured: "counted with the exchange of steps",
  upToPercent: 0.3,
};

export const jointMeasurements: readonly JointMeasurement[] = [
  {
    boundary: { formats: { forward: "int8", backward: "int4" }, rank: 32 },
    width: 256,
    exchange: { codec: { kind: "dense", bits: 2 }, lag: 1 },
    merge: { kind: "dense", bits: 2 },
    replicas: 2,
    // −0.4 and −1.4 % of one process's loss at equal tokens, whose learning rate was the preset's: that is no gain of compression.
    lossGapPercent: 0,
    measured: "npm run bench -- swarm, width 256, 3 stages of 2 replicas, 0.5 M tokens",
  },
];

/** To compute ahead of the optimizer, instead of emptying the pipeline before every step; `nadam` is made for that. */
export const stalenessCosts: Readonly<Record<"adamw" | "nadam", Evidence>> = {
  adamw: { lossGapPercent: 8, measured: `${mergesBench}, 3 stages, delays of 2, 1 and 0 steps` },
  nadam: { lossGapPercent: 8.5, measured: "PyTorch prototype, 3 stages, delays of 2, 1 and 0 steps" },
};

function exchangesInTwoBits(lag: 0 | 1, gaps: readonly (readonly [replicas: number, lossGapPercent: number])[]) {
  return gaps.map(([replicas, lossGapPercent]) => ({
    exchange: { codec: { kind: "dense", bits: 2 }, lag } as const,
    replicas,
    lossGapPercent,
    measured: mergesBench,
  }));
}

type BoundaryRow = readonly [
  forward: BoundaryFormats["forward"],
  backward: BoundaryFormats["backward"],
  rank: number | null,
  lossGapPercent: number,
  measured: string | null,
];

function measuredAt(width: number, rows: readonly BoundaryRow[]): readonly BoundaryChoice[] {
  return rows.map(([forward, backward, rank, lossGapPercent, measured]) => ({
    formats: { forward, backward },
    rank,
    width,
    lossGapPercent,
    measured: measured && `${measured}, width ${width}`,
  }));
}
