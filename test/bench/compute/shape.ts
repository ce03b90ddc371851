/** What follows from a configuration: the model, its products, its operations. Loaded where memory is measured, so without zod. */
import type { ModelConfig, StageSpec } from "../../../src/compute/model/config.ts";
import { presets } from "../../../src/compute/model/presets.ts";
import { wholeModel } from "../../../src/compute/model/stages.ts";
import type { Configuration } from "./configuration.ts";

export function keyValueHeadsOf({ keyValueHeads, heads }: Configuration): number {
  return keyValueHeads ?? heads;
}

export function modelOf(configuration: Configuration): { readonly model: ModelConfig; readonly stage: StageSpec } {
  const { vocab, d, layers, heads, ff, seq } = configuration;
  const model: ModelConfig = {
    ...presets.demo.model,
    vocabulary: vocab || 1,
    width: d,
    layers,
    heads,
    keyValueHeads: keyValueHeadsOf(configuration),
    feedForward: ff,
    context: seq,
  };
  return { model, stage: vocab ? wholeModel(model) : { index: 1, count: 3, fromLayer: 0, toLayer: layers } };
}

export function shapeOf(configuration: Configuration) {
  const { layers, d, heads, ff, seq, batch, vocab } = configuration;
  return { layers, d, heads, keyValueHeads: keyValueHeadsOf(configuration), ff, seq, batch, vocab };
}

export function tokensOf({ seq, batch }: Configuration): number {
  return seq * batch;
}

/** Whether attention's two products are counted over all positions, or over those that causal attention needs. */
export type AttentionCount = "square" | "causal";

/**
 * Floating-point operations of one token, forward and backward: 2 per weight forward and 4 backward, and attention's products.
 * "square" is the usual count (Chowdhery 2022, appendix B), and the one that the targets were set with.
 */
export function flopPerToken(configuration: Configuration, attention: AttentionCount = "square"): number {
  const { d, heads, ff, seq, layers, vocab } = configuration;
  const keyValueWidth = (d / heads) * keyValueHeadsOf(configuration);
  const blockWeights = 2 * d * d + 2 * d * keyValueWidth + 3 * d * ff;
  const attended = attention === "square" ? seq : seq / 2;
  return layers * (6 * blockWeights + 12 * attended * d) + 6 * d * vocab;
}

export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** The matrix products of a block's forward pass. */
export function productsOf(configuration: Configuration): readonly Product[] {
  const { d, ff } = configuration;
  const m = tokensOf(configuration);
  return [
    { m, n: d, k: d },
    { m, n: ff, k: d },
    { m, n: d, k: ff },
  ];
}
