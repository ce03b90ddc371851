import type { AttentionShape, Kernels, MatmulShape, Workspace } from "../../kernels.ts";
import type { Addon, DeviceHandle } from "./addon.ts";
import { operand } from "./memory.ts";

/** The contract's kernels as calls of the addon: slices become operands, shapes their numbers in a fixed order. */
export function nativeKernels(addon: Addon, device: DeviceHandle): Kernels {
  return {
    fill: (out, value) => addon.fill(device, ...operand(out), value),
    copy: (out, source) => addon.copy(...operand(out), ...operand(source)),
    add: (out, a, b) => addon.add(device, ...operand(out), ...operand(a), ...operand(b)),
    addScaled: (out, x, factor) => addon.addScaled(device, ...operand(out), ...operand(x), factor),
    addColumns: (out, source, { rows, columns, outWidth, sourceWidth }) =>
      addon.addColumns(device, ...operand(out), ...operand(source), rows, columns, outWidth, sourceWidth),
    matmul: (out, a, b, shape) => addon.matmul(device, ...[out, a, b].flatMap(operand), ...matmulNumbers(shape)),
    embeddingForward: (out, table, tokens, { rows, width }) =>
      addon.embeddingForward(device, ...[out, table, tokens].flatMap(operand), rows, width),
    embeddingBackward: (dTable, dOut, tokens, { rows, width }) =>
      addon.embeddingBackward(device, ...[dTable, dOut, tokens].flatMap(operand), rows, width),
    rmsNormForward: (out, inverseRms, x, gain, { rows, width, epsilon }) =>
      addon.rmsNormForward(device, ...[out, inverseRms, x, gain].flatMap(operand), rows, width, epsilon),
    rmsNormBackward: (dx, dGain, dOut, x, gain, inverseRms, { rows, width }) =>
      addon.rmsNormBackward(device, ...[dx, dGain, dOut, x, gain, inverseRms].flatMap(operand), rows, width),
    rotary: (x, { batch, sequence, heads, headDim, base, positionOffset, inverse = false }) =>
      addon.rotary(device, ...operand(x), batch, sequence, heads, headDim, base, positionOffset, inverse),
    attentionForward: (out, logSumExp, q, k, v, shape) =>
      addon.attentionForward(device, ...[out, logSumExp, q, k, v].flatMap(operand), ...attentionNumbers(shape)),
    attentionBackward: (dq, dk, dv, dOut, q, k, v, out, logSumExp, shape) =>
      addon.attentionBackward(
        device,
        ...[dq, dk, dv, dOut, q, k, v, out, logSumExp].flatMap(operand),
        ...attentionNumbers(shape),
      ),
    swigluForward: (out, gate, up) => addon.swigluForward(device, ...[out, gate, up].flatMap(operand)),
    swigluBackward: (dGate, dUp, activated, dOut, gate, up) =>
      addon.swigluBackward(device, ...[dGate, dUp, activated, dOut, gate, up].flatMap(operand)),
    crossEntropy: (losses, logits, targets, { rows, width, gradientScale }) =>
      addon.crossEntropy(device, ...[losses, logits, targets].flatMap(operand), rows, width, gradientScale),
    squaredNorm: (out, x) => addon.squaredNorm(device, ...operand(out), ...operand(x)),
    adam: (parameters, gradients, firstMoment, secondMoment, options) =>
      addon.adam(
        device,
        ...[parameters, gradients, firstMoment, secondMoment].flatMap(operand),
        ...[options.gradientScale, options.beta1, options.beta2, options.momentRate, options.gradientRate],
        ...[options.rootScale, options.epsilon, options.decayRate],
      ),
    outerNesterov: (parameters, momentumBuffer, pseudoGradient, { learningRate, momentum }) =>
      addon.outerNesterov(
        device,
        ...[parameters, momentumBuffer, pseudoGradient].flatMap(operand),
        learningRate,
        momentum,
      ),
  };
}

/** What those kernels take that need room to work. */
export function nativeWorkspace(addon: Addon, device: DeviceHandle): Workspace {
  return {
    matmulBytes: (shape) => addon.matmulWorkspace(device, ...matmulNumbers(shape)),
    attentionForwardBytes: (shape) => addon.attentionForwardWorkspace(device, ...attentionNumbers(shape)),
    attentionBackwardBytes: (shape) => addon.attentionBackwardWorkspace(device, ...attentionNumbers(shape)),
    heldBytes: () => addon.workspaceHeld(device),
  };
}

function matmulNumbers({ m, n, k, transposeA = false, transposeB = false, accumulate = false }: MatmulShape) {
  return [m, n, k, transposeA, transposeB, accumulate];
}

function attentionNumbers({ batch, queries, keys, heads, keyValueHeads, headDim }: AttentionShape) {
  return [batch, queries, keys, heads, keyValueHeads, headDim];
}
