/**
 * One stage of the model on one device: the passes of a microbatch through it.
 *
 *     first stage   x = embedding[tokens]
 *     every stage   x = block(x), for each of its layers; x = encoder(x) and x = decoder(x) where a bottleneck is
 *     last stage    loss = Σ −log softmax(norm(x) · headᵀ)[target], in `head.ts`
 *
 * Gradients are sums over tokens; whoever steps or merges divides. This folder states the model as calls on `Kernels`
 * and imports no back end.
 */
import { assertNever } from "../../protocol/assert-never.ts";
import type { Kernels, Slice } from "../kernels.ts";
import {
  type BlockPass,
  type BlockShape,
  blockActivate,
  blockBackward,
  blockForward,
  blockScratch,
  blockWidths,
} from "./block.ts";
import { type HalfPass, halfBackward, halfForward, halfScratch, halfShape, halfWidths } from "./bottleneck.ts";
import type { ModelConfig, StageSpec } from "./config.ts";
import { type HeadPass, headForwardBackward, headLosses } from "./head.ts";
import { firstRows, type Memory, placeRows, rowsOf } from "./memory.ts";
import { type BottleneckHalf, partName, partsOf, type StagePart } from "./parts.ts";
import { allocateStage, type StageActivations, type StageMemory, type StageSize } from "./stage-memory.ts";

export interface Stage extends StageMemory {
  readonly kernels: Kernels;
}

export interface EmbeddingPass {
  /** [vocabulary, width]. */
  readonly table: Slice;
  readonly dTable: Slice;
  /** int32 [tokens]. */
  readonly tokens: Slice;
}

/** Everything that the passes of one microbatch touch, cut to the microbatch's size. */
export interface StagePass {
  readonly shape: BlockShape;
  /** First stage only. */
  readonly embedding: EmbeddingPass | null;
  /** What enters the first part: [tokens, width], or [tokens, rank] where that is a decoder. */
  readonly input: Slice;
  readonly parts: readonly PartPass[];
  /** [tokens, width]: what leaves the last block. */
  readonly stream: Slice;
  /** What leaves the last part: `stream`, or [tokens, rank] where that is an encoder. */
  readonly output: Slice;
  /** As `output`: its gradient, before the backward pass. */
  readonly dOutput: Slice;
  /** As `input`: its gradient, after the backward pass. */
  readonly dInput: Slice;
  /** [tokens, width]: the stream's gradient on its way back. */
  readonly dx: Slice;
  /** [tokens, rank]: the same within a bottleneck; null where there is none. */
  readonly dSqueezed: Slice | null;
  /** Last stage only. */
  readonly head: HeadPass | null;
}

/** The pass of a block, or of a half of a bottleneck. */
export type PartPass =
  | { readonly kind: "block"; readonly name: string; readonly output: Slice; readonly pass: BlockPass }
  | { readonly kind: BottleneckHalf["kind"]; readonly name: string; readonly output: Slice; readonly pass: HalfPass };

/** Its weights are zero until they are loaded. Throws `DeviceMemoryError`. */
export function createStage(
  kernels: Kernels,
  memory: Memory,
  model: ModelConfig,
  spec: StageSpec,
  size: StageSize,
): Stage {
  return { kernels, ...allocateStage(memory, model, spec, size) };
}

/** Cuts a stage's memory, and one set of activations, to a microbatch. */
export function passOf(stage: Stage, kept: StageActivations, shape: BlockShape): StagePass {
  const { weights, dWeights, scratch, model } = stage;
  const rows = shape.sequences * shape.queries;
  const dx = rowsOf(scratch.dx, model.width, 0, rows);
  const dSqueezed = scratch.squeezed && rowsOf(scratch.squeezed, model.bottleneck?.rank ?? 0, 0, rows);
  const parts = partPasses(stage, kept, shape);
  const [first, last] = [at(parts, 0), at(parts, parts.length - 1)];
  return {
    shape,
    embedding: weights.embedding &&
      dWeights.embedding &&
      kept.tokens && {
        table: weights.embedding,
        dTable: dWeights.embedding,
        tokens: rowsOf(kept.tokens, 1, 0, rows),
      },
    input: first.pass.kept.input,
    parts,
    stream: last.kind === "encoder" ? last.pass.kept.input : last.output,
    output: last.output,
    dOutput: last.kind === "encoder" ? last.output : dx,
    dInput: first.kind === "decoder" ? existing(dSqueezed) : dx,
    dx,
    dSqueezed,
    head: weights.head &&
      dWeights.head &&
      scratch.losses &&
      scratch.targets && {
        weights: weights.head,
        gradients: dWeights.head,
        scratch: scratch.working,
        losses: rowsOf(scratch.losses, 1, 0, rows),
        targets: rowsOf(scratch.targets, 1, 0, rows),
      },
  };
}

/** `input`, or the embedding's tokens, → `output`. */
export function stageForward({ kernels, model }: Stage, { shape, embedding, input, parts }: StagePass): void {
  if (embedding) {
    const { table, tokens } = embedding;
    kernels.embeddingForward(input, table, tokens, { rows: tokens.length, width: model.width });
  }
  for (const part of parts) {
    if (part.kind === "block") blockForward(kernels, model, shape, part.pass);
    else halfForward(kernels, model, part.pass);
  }
}

/** From `dOutput` to `dInput`; adds parameter gradients. Spends the activations. */
export function stageBackward({ kernels, model, size }: Stage, pass: StagePass): void {
  const { shape, embedding, parts, dx, dSqueezed } = pass;
  for (const part of parts.toReversed()) {
    switch (part.kind) {
      case "block":
        if (size.recompute) blockActivate(kernels, model, shape, part.pass);
        blockBackward(kernels, model, shape, part.pass, dx);
        break;
      case "encoder":
        halfBackward(kernels, model, part.pass, dx, existing(dSqueezed));
        break;
      case "decoder":
        halfBackward(kernels, model, part.pass, existing(dSqueezed), dx);
        break;
      default:
        assertNever(part);
    }
  }
  if (embedding) {
    const { dTable, tokens } = embedding;
    kernels.embeddingBackward(dTable, dx, tokens, { rows: tokens.length, width: model.width });
  }
}

/** After the last stage's `stageForward`: `output` → the loss of every token, in nats: [tokens]. */
export function lossForward({ kernels, model }: Stage, pass: StagePass): Slice {
  const head = headOf(pass);
  headLosses(kernels, model, head, pass.output);
  return head.losses;
}

/**
 * As `lossForward`, and back: `dInput` becomes the gradient of the summed loss with respect to `input`; adds parameter gradients.
 * Spends the activations.
 */
export function lossForwardBackward(stage: Stage, pass: StagePass): Slice {
  const head = headOf(pass);
  headForwardBackward(stage.kernels, stage.model, head, pass.dx, pass.output);
  stageBackward(stage, pass);
  return head.losses;
}

export function headOf({ head }: StagePass): HeadPass {
  if (!head) throw new Error("only the last stage has a head");
  return head;
}

export function embeddingOf({ embedding }: StagePass): EmbeddingPass {
  if (!embedding) throw new Error("only the first stage takes tokens");
  return embedding;
}

function partPasses(stage: Stage, kept: StageActivations, shape: BlockShape): readonly PartPass[] {
  const { model, spec, weights, dWeights, scratch } = stage;
  const rows = shape.sequences * shape.queries;
  const widths = blockWidths(model);
  const cached = { key: widths.key, value: widths.value };
  const inputOf = ({ kind, index }: StagePart) =>
    at<{ readonly input: Slice }>(kind === "block" ? kept.blocks : kept.halves, index).input;
  const parts = partsOf(model, spec);
  return parts.map((part, position): PartPass => {
    const { kind, index } = part;
    const next = parts[position + 1];
    const behind = next ? inputOf(next) : kind === "encoder" ? existing(scratch.squeezed) : scratch.output;
    const shared = {
      name: partName(part),
      output: rowsOf(behind, kind === "encoder" ? halfShape(model, part).outputs : model.width, 0, rows),
    };
    if (kind === "block") {
      const all = at(kept.blocks, index);
      const pass = {
        weights: at(weights.blocks, index),
        gradients: at(dWeights.blocks, index),
        kept: { ...firstRows(all, widths, rows), ...firstRows(all, cached, shape.sequences * shape.keys) },
        scratch: placeRows(scratch.working, blockScratch(model), rows),
        output: shared.output,
      };
      return { kind, ...shared, pass };
    }
    const ofHalf = halfShape(model, part);
    const pass = {
      shape: ofHalf,
      weights: at(weights.halves, index),
      gradients: at(dWeights.halves, index),
      kept: firstRows(at(kept.halves, index), halfWidths(ofHalf), rows),
      scratch: placeRows(scratch.working, halfScratch(ofHalf), rows),
      output: shared.output,
    };
    return { kind, ...shared, pass };
  });
}

function existing(squeezed: Slice | null): Slice {
  if (squeezed === null) throw new Error("a half of a bottleneck, in a model without one");
  return squeezed;
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no item ${index} of ${items.length}`);
  return item;
}
