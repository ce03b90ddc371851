/**
 * What a stage is made of, in the order in which tokens pass: blocks, and the halves of bottlenecks. A bottleneck lies before a
 * layer: the stage that ends there holds its encoder, the one that begins there its decoder, and one that goes on there holds both.
 */
import { assertNever } from "../../protocol/assert-never.ts";
import type { ModelConfig, StageSpec } from "./config.ts";

/** `encoder`: width → rank channels; `decoder`: back. */
export interface BottleneckHalf {
  readonly kind: "encoder" | "decoder";
  /** That it lies before. */
  readonly layer: number;
  /** Among the stage's halves. */
  readonly index: number;
}

export interface Block {
  readonly kind: "block";
  readonly layer: number;
  /** Among the stage's blocks. */
  readonly index: number;
}

export type StagePart = Block | BottleneckHalf;

type StageLayers = Pick<StageSpec, "fromLayer" | "toLayer">;

export function partsOf({ bottleneck }: ModelConfig, { fromLayer, toLayer }: StageLayers): readonly StagePart[] {
  const squeezed = new Set(bottleneck?.beforeLayers);
  const parts: StagePart[] = [];
  let halves = 0;
  for (let layer = fromLayer; layer < toLayer; layer++) {
    if (layer > fromLayer && squeezed.has(layer)) parts.push({ kind: "encoder", layer, index: halves++ });
    if (squeezed.has(layer)) parts.push({ kind: "decoder", layer, index: halves++ });
    parts.push({ kind: "block", layer, index: layer - fromLayer });
  }
  if (squeezed.has(toLayer)) parts.push({ kind: "encoder", layer: toLayer, index: halves });
  return parts;
}

/** Those of `partsOf` that are halves of bottlenecks. */
export function halvesOf(model: ModelConfig, stage: StageLayers): readonly BottleneckHalf[] {
  return partsOf(model, stage).filter((part) => part.kind !== "block");
}

/** As its tensors are called: `layers.3`, `layers.4.bottleneck.encoder`. */
export function partName(part: StagePart): string {
  switch (part.kind) {
    case "block":
      return `layers.${part.layer}`;
    case "encoder":
    case "decoder":
      return `layers.${part.layer}.bottleneck.${part.kind}`;
    default:
      return assertNever(part);
  }
}

/** Channels of a token between the layer before `layer` and `layer`, as they cross a stage boundary there. */
export function channelsBefore({ width, bottleneck }: ModelConfig, layer: number): number {
  return bottleneck?.beforeLayers.includes(layer) ? bottleneck.rank : width;
}
