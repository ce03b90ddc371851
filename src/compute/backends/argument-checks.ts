import type { DeviceBuffer, Kernels, Slice } from "../kernels.ts";

/**
 * The argument checks that every back end shares. `withShapeChecks` puts them in front of a back end's own table, so
 * that the kernels themselves only compute. A failed check is a bug in the caller: it throws `RangeError` and nothing
 * has been written. The cost is a few comparisons per call, far below any kernel's own work.
 */
export function withShapeChecks(kernels: Kernels): Kernels {
  return {
    fill(out, value) {
      checkReals("fill", { out: [out, out.length] });
      kernels.fill(out, value);
    },
    copy(out, source) {
      if (out.buffer.element !== source.buffer.element) throw new RangeError("copy: element types differ");
      checkLengths("copy", { source: [source, out.length] });
      checkDisjoint("copy", [out], [source]);
      kernels.copy(out, source);
    },
    add(out, a, b) {
      checkReals("add", { out: [out, out.length], a: [a, out.length], b: [b, out.length] });
      kernels.add(out, a, b);
    },
    addScaled(out, x, factor) {
      checkReals("addScaled", { out: [out, out.length], x: [x, out.length] });
      kernels.addScaled(out, x, factor);
    },
    addColumns(out, source, shape) {
      const { rows, columns, outWidth, sourceWidth } = shape;
      checkCounts("addColumns", { rows, columns, outWidth, sourceWidth });
      if (columns > Math.min(outWidth, sourceWidth))
        throw new RangeError(`addColumns: ${columns} columns of matrices with ${outWidth} and ${sourceWidth}`);
      checkReals("addColumns", { out: [out, rows * outWidth], source: [source, rows * sourceWidth] });
      checkDisjoint("addColumns", [out], [source]);
      kernels.addColumns(out, source, shape);
    },
    matmul(out, a, b, shape) {
      const { m, n, k } = shape;
      checkCounts("matmul", { m, n, k });
      checkReals("matmul", { out: [out, m * n], a: [a, m * k], b: [b, k * n] });
      checkDisjoint("matmul", [out], [a, b]);
      kernels.matmul(out, a, b, shape);
    },
    embeddingForward(out, table, tokens, shape) {
      checkTable("embeddingForward", out, table, tokens, shape);
      checkDisjoint("embeddingForward", [out], [table]);
      kernels.embeddingForward(out, table, tokens, shape);
    },
    embeddingBackward(dTable, dOut, tokens, shape) {
      checkTable("embeddingBackward", dOut, dTable, tokens, shape);
      checkDisjoint("embeddingBackward", [dTable], [dOut]);
      kernels.embeddingBackward(dTable, dOut, tokens, shape);
    },
    rmsNormForward(out, inverseRms, x, gain, shape) {
      const { rows, width } = shape;
      const size = rows * width;
      checkCounts("rmsNormForward", { rows, width });
      checkReals("rmsNormForward", {
        out: [out, size],
        inverseRms: [inverseRms, rows],
        x: [x, size],
        gain: [gain, width],
      });
      checkDisjoint("rmsNormForward", [out, inverseRms], [x, gain]);
      kernels.rmsNormForward(out, inverseRms, x, gain, shape);
    },
    rmsNormBackward(dx, dGain, dOut, x, gain, inverseRms, shape) {
      const { rows, width } = shape;
      const size = rows * width;
      checkCounts("rmsNormBackward", { rows, width });
      checkReals("rmsNormBackward", { dx: [dx, size], dGain: [dGain, width], dOut: [dOut, size], x: [x, size] });
      checkReals("rmsNormBackward", { gain: [gain, width], inverseRms: [inverseRms, rows] });
      checkDisjoint("rmsNormBackward", [dx, dGain], [dOut, x, gain, inverseRms]);
      kernels.rmsNormBackward(dx, dGain, dOut, x, gain, inverseRms, shape);
    },
    rotary(x, shape) {
      const { batch, sequence, heads, headDim } = shape;
      checkCounts("rotary", { batch, sequence, heads, headDim });
      if (headDim % 2 !== 0) throw new RangeError(`rotary: headDim ${headDim} is odd`);
      checkReals("rotary", { x: [x, batch * sequence * heads * headDim] });
      kernels.rotary(x, shape);
    },
    attentionForward(out, logSumExp, q, k, v, shape) {
      const size = attentionSizes("attentionForward", shape);
      checkReals("attentionForward", { out: [out, size.query], logSumExp: [logSumExp, size.rows] });
      checkReals("attentionForward", { q: [q, size.query], k: [k, size.key], v: [v, size.key] });
      checkDisjoint("attentionForward", [out, logSumExp], [q, k, v]);
      kernels.attentionForward(out, logSumExp, q, k, v, shape);
    },
    attentionBackward(dq, dk, dv, dOut, q, k, v, out, logSumExp, shape) {
      const size = attentionSizes("attentionBackward", shape);
      checkReals("attentionBackward", { dq: [dq, size.query], dk: [dk, size.key], dv: [dv, size.key] });
      checkReals("attentionBackward", { q: [q, size.query], k: [k, size.key], v: [v, size.key] });
      checkReals("attentionBackward", { dOut: [dOut, size.query], out: [out, size.query] });
      checkReals("attentionBackward", { logSumExp: [logSumExp, size.rows] });
      checkDisjoint("attentionBackward", [dq, dk, dv], [dOut, q, k, v, out, logSumExp]);
      kernels.attentionBackward(dq, dk, dv, dOut, q, k, v, out, logSumExp, shape);
    },
    swigluForward(out, gate, up) {
      checkReals("swigluForward", { out: [out, out.length], gate: [gate, out.length], up: [up, out.length] });
      checkDisjoint("swigluForward", [out], [gate, up]);
      kernels.swigluForward(out, gate, up);
    },
    swigluBackward(dGate, dUp, activated, dOut, gate, up) {
      const { length } = dOut;
      checkReals("swigluBackward", { dGate: [dGate, length], dUp: [dUp, length], activated: [activated, length] });
      checkReals("swigluBackward", { dOut: [dOut, length], gate: [gate, length], up: [up, length] });
      checkDisjoint("swigluBackward", [dGate, dUp], [dOut]);
      checkDisjoint("swigluBackward", [activated], [dGate, dUp, gate, up]);
      kernels.swigluBackward(dGate, dUp, activated, dOut, gate, up);
    },
    crossEntropy(losses, logits, targets, shape) {
      const { rows, width } = shape;
      checkCounts("crossEntropy", { rows, width });
      checkReals("crossEntropy", { losses: [losses, rows], logits: [logits, rows * width] });
      checkIndices("crossEntropy", { targets: [targets, rows] });
      checkDisjoint("crossEntropy", [losses], [logits]);
      kernels.crossEntropy(losses, logits, targets, shape);
    },
    squaredNorm(out, x) {
      checkReals("squaredNorm", { out: [out, 1], x: [x, x.length] });
      checkDisjoint("squaredNorm", [out], [x]);
      kernels.squaredNorm(out, x);
    },
    adam(parameters, gradients, firstMoment, secondMoment, options) {
      const { length } = parameters;
      checkReals("adam", { parameters: [parameters, length], gradients: [gradients, length] });
      checkReals("adam", { firstMoment: [firstMoment, length], secondMoment: [secondMoment, length] });
      checkDisjoint("adam", [parameters, firstMoment, secondMoment], [gradients]);
      for (const [name, value] of Object.entries(options))
        if (!Number.isFinite(value)) throw new RangeError(`adam: ${name} is ${value}`);
      kernels.adam(parameters, gradients, firstMoment, secondMoment, options);
    },
    outerNesterov(parameters, momentumBuffer, pseudoGradient, options) {
      const { length } = parameters;
      checkReals("outerNesterov", { parameters: [parameters, length], momentumBuffer: [momentumBuffer, length] });
      checkReals("outerNesterov", { pseudoGradient: [pseudoGradient, length] });
      checkDisjoint("outerNesterov", [parameters, momentumBuffer], [pseudoGradient]);
      kernels.outerNesterov(parameters, momentumBuffer, pseudoGradient, options);
    },
  };
}

/** Throws `RangeError` unless `valueCount` host values of the given kind fill the slice exactly. */
export function checkTransfer(slice: Slice, element: DeviceBuffer["element"], valueCount: number): void {
  if (slice.buffer.element !== element) throw new RangeError(`the slice does not hold ${element} elements`);
  if (slice.length !== valueCount)
    throw new RangeError(`${valueCount} values were given for a slice of ${slice.length} elements`);
}

/** Operands by name, each with the length it must have. */
type Operands = Readonly<Record<string, readonly [slice: Slice, length: number]>>;

function checkLengths(kernel: string, operands: Operands): void {
  for (const [name, [slice, expected]] of Object.entries(operands))
    if (slice.length !== expected)
      throw new RangeError(`${kernel}: ${name} has ${slice.length} elements, not the ${expected} of its shape`);
}

function checkElements(kernel: string, operands: Operands, element: DeviceBuffer["element"]): void {
  for (const [name, [{ buffer }]] of Object.entries(operands))
    if (buffer.element !== element) throw new RangeError(`${kernel}: ${name} is not a slice of ${element} elements`);
}

function checkReals(kernel: string, operands: Operands): void {
  checkElements(kernel, operands, "real");
  checkLengths(kernel, operands);
}

function checkIndices(kernel: string, operands: Operands): void {
  checkElements(kernel, operands, "index");
  checkLengths(kernel, operands);
}

function checkCounts(kernel: string, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts))
    if (!Number.isInteger(count) || count < 1) throw new RangeError(`${kernel}: ${name} is ${count}`);
}

/** No output may overlap an input, nor another output. */
function checkDisjoint(kernel: string, outputs: readonly Slice[], inputs: readonly Slice[]): void {
  const operands = [...outputs, ...inputs];
  outputs.forEach((output, index) => {
    for (const other of operands.slice(index + 1))
      if (overlaps(output, other)) throw new RangeError(`${kernel}: an output overlaps another operand`);
  });
}

function overlaps(a: Slice, b: Slice): boolean {
  return a.buffer === b.buffer && a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

function checkTable(
  kernel: string,
  rowsSlice: Slice,
  table: Slice,
  tokens: Slice,
  { rows, width }: { readonly rows: number; readonly width: number },
): void {
  checkCounts(kernel, { rows, width });
  checkReals(kernel, { rows: [rowsSlice, rows * width], table: [table, table.length] });
  checkIndices(kernel, { tokens: [tokens, rows] });
  if (table.length % width !== 0) throw new RangeError(`${kernel}: the table is not whole rows of ${width}`);
}

function attentionSizes(kernel: string, shape: Parameters<Kernels["attentionForward"]>[5]) {
  const { batch, queries, keys, heads, keyValueHeads, headDim } = shape;
  checkCounts(kernel, { batch, queries, keys, heads, keyValueHeads, headDim });
  if (queries > keys) throw new RangeError(`${kernel}: ${queries} queries but only ${keys} keys`);
  if (heads % keyValueHeads !== 0) throw new RangeError(`${kernel}: ${keyValueHeads} does not divide ${heads} heads`);
  return {
    query: batch * queries * heads * headDim,
    key: batch * keys * keyValueHeads * headDim,
    rows: batch * heads * queries,
  };
}
