/**
 * What a plan chooses from, mildest first, and what each choice costs of the loss. Where `measured` is null, nobody has measured it:
 * the figure lies between its neighbours'. The measurements are small ones (a few hundred thousand tokens, width 128 … 256): good for
 * an order, not for a promise.
 */
import type { BoundaryFormats, Compression, VectorCodec } from "../../protocol/run-config.ts";

interface Evidence {
  /** Of the validation loss, against the same schedule uncompressed. */
  readonly lossGapPercent: number;
  readonly measured: string | null;
}

export interface BoundaryChoice extends Evidence {
  readonly formats: BoundaryFormats;
  /** Channels of the bottleneck; null: all channels cross. */
  readonly rank: number | null;
}

export interface ExchangeChoice extends Evidence {
  readonly exchange: Compression["exchange"];
}

export interface MergeChoice extends Evidence {
  readonly codec: VectorCodec;
}

const nothing: Evidence = { lossGapPercent: 0, measured: "nothing is rounded" };
const prototype = "PyTorch prototype, width 256, 6 layers, 3 stages, 0.5 M tokens";
const exchangePrototype = "PyTorch prototype, width 128, 6 layers, 2 replicas, 0.5 M tokens";
const mergePrototype = "PyTorch prototype, 0.87 M parameters, 4 replicas";

export const boundaryChoices: readonly BoundaryChoice[] = [
  { formats: { forward: "f32", backward: "f32" }, rank: null, ...nothing },
  { formats: { forward: "bf16", backward: "bf16" }, rank: null, lossGapPercent: 0.1, measured: null },
  { formats: { forward: "int8", backward: "int8" }, rank: null, lossGapPercent: 0.5, measured: null },
  { formats: { forward: "int8", backward: "int4" }, rank: null, lossGapPercent: 1.5, measured: null },
  { formats: { forward: "int4", backward: "int4" }, rank: null, lossGapPercent: 2.5, measured: prototype },
  { formats: { forward: "int8", backward: "int8" }, rank: 32, lossGapPercent: 2.6, measured: prototype },
  { formats: { forward: "int8", backward: "int4" }, rank: 32, lossGapPercent: 3.3, measured: prototype },
  // The prototype had 4.6 with another quantiser of two bits.
  { formats: { forward: "int8", backward: "int2" }, rank: 32, lossGapPercent: 4.6, measured: null },
  { formats: { forward: "int4", backward: "int4" }, rank: 32, lossGapPercent: 5.5, measured: prototype },
];

export const exchangeChoices: readonly ExchangeChoice[] = [
  { exchange: { codec: { kind: "dense", bits: 8 }, lag: 0 }, lossGapPercent: 0, measured: null },
  { exchange: { codec: { kind: "dense", bits: 4 }, lag: 0 }, lossGapPercent: 0.1, measured: null },
  {
    exchange: { codec: { kind: "dense", bits: 2 }, lag: 0 },
    lossGapPercent: 0.2,
    measured: exchangePrototype,
  },
  {
    exchange: { codec: { kind: "dense", bits: 2 }, lag: 1 },
    lossGapPercent: 0.7,
    measured: exchangePrototype,
  },
  { exchange: null, lossGapPercent: 2, measured: `${exchangePrototype}, merged every 15 steps` },
];

export const mergeChoices: readonly MergeChoice[] = [
  { codec: { kind: "f32" }, ...nothing },
  { codec: { kind: "dense", bits: 8 }, lossGapPercent: 0.05, measured: null },
  { codec: { kind: "dense", bits: 4 }, lossGapPercent: 0.1, measured: null },
  { codec: { kind: "dense", bits: 2 }, lossGapPercent: 0.3, measured: mergePrototype },
  { codec: { kind: "dense", bits: 1 }, lossGapPercent: 2.5, measured: mergePrototype },
];
