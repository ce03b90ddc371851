/**
 * The largest things that a stage's passes give to a kernel in one piece. Some devices cannot take them however much memory
 * there is, which had better be known before training starts than at the first pass.
 */
import { type Device, DeviceMemoryError } from "../kernels.ts";
import { blockWidths } from "./block.ts";
import { halfShape, halfWidths } from "./bottleneck.ts";
import type { ModelConfig, StageSpec } from "./config.ts";
import { logitsLength } from "./head.ts";
import { stageLayout } from "./layout.ts";
import { elementBytes } from "./memory.ts";
import { halvesOf } from "./parts.ts";
import type { StageSize } from "./stage-memory.ts";
import { isLastStage } from "./stages.ts";

interface Operand {
  readonly name: string;
  readonly length: number;
}

/** Throws `DeviceMemoryError`, with the largest operand's name, when the device's kernels cannot take it. */
export function checkOperands(
  { description, largestOperand }: Pick<Device, "description" | "largestOperand">,
  model: ModelConfig,
  spec: StageSpec,
  size: Pick<StageSize, "maximumTokens">,
): void {
  const { name, length } = operandsOf(model, spec, size).reduce((a, b) => (b.length > a.length ? b : a));
  if (length <= largestOperand) return;
  const [bytes, mostBytes] = [length * elementBytes, largestOperand * elementBytes];
  const what = `${name}: it takes ${bytes} bytes, and kernels see ${mostBytes} at once`;
  throw new DeviceMemoryError(bytes, description.name, what);
}

/** Passes over whole vectors of weights, gradients or moments are not among them: devices cut those as they like. */
function operandsOf(
  model: ModelConfig,
  spec: StageSpec,
  { maximumTokens }: Pick<StageSize, "maximumTokens">,
): readonly Operand[] {
  const matrices = Object.entries(blockWidths(model)).map(([name, width]) => ({
    name: `${name} of ${maximumTokens} tokens`,
    length: maximumTokens * width,
  }));
  const ofHalves = halvesOf(model, spec).flatMap((half) =>
    Object.entries(halfWidths(halfShape(model, half))).map(([name, width]) => ({
      name: `the ${half.kind}'s ${name} of ${maximumTokens} tokens`,
      length: maximumTokens * width,
    })),
  );
  const logits = isLastStage(spec) ? [{ name: "logits", length: logitsLength(model, maximumTokens) }] : [];
  return [...stageLayout(model, spec).tensors, ...matrices, ...ofHalves, ...logits];
}
