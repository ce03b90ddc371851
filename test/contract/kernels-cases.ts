/**
 * One entry per kernel: the shapes to try, how to make a call of that shape from a seed, and what must come out according to
 * the formulas. The contract suite runs the same table for every property that it checks.
 */
import fc from "fast-check";
import { type KernelCase, kernelCall, kernelCase, type RandomValues } from "./kernels-calls.ts";
import * as formula from "./kernels-formulas.ts";

const upTo = (max: number) => fc.integer({ min: 1, max });
const flag = fc.boolean();

const lengths = (threaded: number) => ({
  small: { length: upTo(70) },
  large: { length: fc.oneof(upTo(100), upTo(40_000)) },
  threaded: { length: threaded },
});
const rowSizes = (threaded: { rows: number; width: number }) => ({
  small: { rows: upTo(5), width: upTo(9) },
  large: { rows: upTo(70), width: fc.oneof(upTo(40), upTo(700)) },
  threaded,
});
const tableSizes = {
  small: { rows: upTo(9), width: upTo(9), vocabulary: upTo(6) },
  large: { rows: upTo(70), width: upTo(400), vocabulary: upTo(50) },
  threaded: { rows: 1500, width: 390, vocabulary: 20 },
};
const attentionSizes = (largeHeadDims: fc.Arbitrary<number>) => ({
  small: { batch: upTo(2), queries: upTo(3), past: fc.nat(3), groups: upTo(2), groupHeads: upTo(2), headDim: upTo(4) },
  large: {
    batch: upTo(2),
    queries: fc.oneof(upTo(4), upTo(160)),
    past: fc.oneof(fc.constant(0), fc.nat(200)),
    groups: upTo(2),
    groupHeads: upTo(3),
    headDim: largeHeadDims,
  },
  threaded: { batch: 2, queries: 150, past: 30, groups: 3, groupHeads: 2, headDim: 20 },
});

const attentionShape = (s: {
  batch: number;
  queries: number;
  past: number;
  groups: number;
  groupHeads: number;
  headDim: number;
}) => ({
  batch: s.batch,
  queries: s.queries,
  keys: s.queries + s.past,
  heads: s.groups * s.groupHeads,
  keyValueHeads: s.groups,
  headDim: s.headDim,
});

export const kernelCases: readonly KernelCase[] = [
  kernelCase("fill", lengths(530_000), ({ length }, random) =>
    kernelCall({
      operands: { out: random.reals(length) },
      run: (kernels, s) => kernels.fill(s.out, 0.75),
      expected: () => ({ out: new Float64Array(length).fill(0.75) }),
    }),
  ),
  kernelCase("copy", lengths(530_000), ({ length }, random) => {
    const source = random.reals(length);
    return kernelCall({
      operands: { out: random.reals(length), source },
      run: (kernels, s) => kernels.copy(s.out, s.source),
      expected: () => ({ out: source }),
    });
  }),
  kernelCase("add", lengths(300_000), ({ length }, random) => {
    const [a, b] = [random.reals(length), random.reals(length)];
    return kernelCall({
      operands: { out: random.reals(length), a, b },
      run: (kernels, s) => kernels.add(s.out, s.a, s.b),
      expected: () => ({ out: formula.zipped(a, b, (x, y) => x + y) }),
    });
  }),
  kernelCase("addScaled", lengths(300_000), ({ length }, random) => {
    const [out, x] = [random.reals(length), random.reals(length)];
    return kernelCall({
      operands: { out, x },
      run: (kernels, s) => kernels.addScaled(s.out, s.x, -0.3),
      expected: () => ({ out: formula.zipped(out, x, (before, value) => before - 0.3 * value) }),
    });
  }),
  kernelCase(
    "addColumns",
    {
      small: { rows: upTo(5), columns: upTo(5), outMore: fc.nat(4), sourceMore: fc.nat(4) },
      large: { rows: upTo(70), columns: fc.oneof(upTo(40), upTo(300)), outMore: fc.nat(400), sourceMore: fc.nat(400) },
      threaded: { rows: 3000, columns: 64, outMore: 64, sourceMore: 0 },
    },
    ({ rows, columns, outMore, sourceMore }, random) => {
      const shape = { rows, columns, outWidth: columns + outMore, sourceWidth: columns + sourceMore };
      const [out, source] = [random.reals(rows * shape.outWidth), random.reals(rows * shape.sourceWidth)];
      return kernelCall({
        operands: { out, source },
        run: (kernels, s) => kernels.addColumns(s.out, s.source, shape),
        expected: () => ({ out: formula.addColumns(out, source, shape) }),
      });
    },
  ),
  kernelCase(
    "matmul",
    {
      small: { m: upTo(9), n: upTo(9), k: upTo(9), transposeA: flag, transposeB: flag, accumulate: flag },
      large: {
        ...{ m: fc.oneof(upTo(130), upTo(2200)), n: fc.oneof(upTo(130), upTo(300)), k: fc.oneof(upTo(20), upTo(40)) },
        ...{ transposeA: flag, transposeB: flag, accumulate: flag },
      },
      threaded: { m: 203, n: 301, k: 101, transposeA: false, transposeB: true, accumulate: true },
    },
    (shape, random) => {
      const { m, n, k } = shape;
      const [out, a, b] = [random.reals(m * n), random.reals(m * k), random.reals(k * n)];
      return kernelCall({
        operands: { out, a, b },
        run: (kernels, s) => kernels.matmul(s.out, s.a, s.b, shape),
        expected: () => ({ out: formula.matmul(out, a, b, shape) }),
      });
    },
  ),
  // The depth is cut at some hundreds, the columns at some thousands: tall, wide and deep products of their own.
  kernelCase(
    "matmul, deep and wide",
    {
      small: { n: fc.integer({ min: 20, max: 40 }), k: fc.integer({ min: 20, max: 40 }), transposeA: flag },
      large: { n: fc.oneof(upTo(20), upTo(5000)), k: fc.oneof(upTo(20), upTo(1100)), transposeA: flag },
      threaded: { n: 1700, k: 1300, transposeA: true },
    },
    ({ n, k, transposeA }, random) => {
      const m = 2;
      const [out, a, b] = [random.reals(m * n), random.reals(m * k), random.reals(k * n)];
      return kernelCall({
        operands: { out, a, b },
        run: (kernels, s) => kernels.matmul(s.out, s.a, s.b, { m, n, k, transposeA }),
        expected: () => ({ out: formula.matmul(out, a, b, { m, n, k, transposeA }) }),
      });
    },
  ),
  kernelCase("embeddingForward", tableSizes, ({ rows, width, vocabulary }, random) => {
    const table = random.reals(vocabulary * width);
    const tokens = random.tokens(rows, vocabulary);
    return kernelCall({
      operands: { out: random.reals(rows * width), table, tokens },
      run: (kernels, s) => kernels.embeddingForward(s.out, s.table, s.tokens, { rows, width }),
      expected: () => ({ out: formula.embedding(table, tokens, width) }),
    });
  }),
  kernelCase("embeddingBackward", tableSizes, ({ rows, width, vocabulary }, random) => {
    const [dTable, dOut] = [random.reals(vocabulary * width), random.reals(rows * width)];
    const tokens = random.tokens(rows, vocabulary);
    return kernelCall({
      operands: { dTable, dOut, tokens },
      run: (kernels, s) => kernels.embeddingBackward(s.dTable, s.dOut, s.tokens, { rows, width }),
      expected: () => {
        const loss = (table: Float64Array) => formula.innerProduct(dOut, formula.embedding(table, tokens, width));
        return { dTable: added(dTable, formula.numericGradient(loss, new Float64Array(vocabulary * width))) };
      },
    });
  }),
  kernelCase("rmsNormForward", rowSizes({ rows: 500, width: 300 }), ({ rows, width }, random) => {
    const [x, gain] = [random.reals(rows * width), random.reals(width)];
    const epsilon = 1e-3;
    return kernelCall({
      operands: { out: random.reals(rows * width), inverseRms: random.reals(rows), x, gain },
      run: (kernels, s) => kernels.rmsNormForward(s.out, s.inverseRms, s.x, s.gain, { rows, width, epsilon }),
      expected: () => ({
        out: formula.rmsNorm(x, gain, epsilon),
        inverseRms: formula.inverseRms(x, width, epsilon),
      }),
    });
  }),
  kernelCase("rmsNormBackward", rowSizes({ rows: 500, width: 300 }), ({ rows, width }, random) => {
    const [x, gain, dOut] = [random.reals(rows * width), random.reals(width), random.reals(rows * width)];
    const [dx, dGain] = [random.reals(rows * width), random.reals(width)];
    const epsilon = 1e-3;
    const loss = (ofX: Float64Array, ofGain: Float64Array) =>
      formula.innerProduct(dOut, formula.rmsNorm(ofX, ofGain, epsilon));
    return kernelCall({
      operands: { dx, dGain, dOut, x, gain, inverseRms: formula.inverseRms(x, width, epsilon) },
      run: (kernels, s) => kernels.rmsNormBackward(s.dx, s.dGain, s.dOut, s.x, s.gain, s.inverseRms, { rows, width }),
      expected: () => ({
        dx: added(
          dx,
          formula.numericGradient((at) => loss(at, gain), x),
        ),
        dGain: added(
          dGain,
          formula.numericGradient((at) => loss(x, at), gain),
        ),
      }),
    });
  }),
  kernelCase(
    "rotary",
    {
      small: {
        batch: upTo(2),
        sequence: upTo(5),
        heads: upTo(3),
        half: upTo(4),
        positionOffset: fc.nat(9),
        inverse: flag,
      },
      large: {
        batch: upTo(3),
        sequence: upTo(90),
        heads: upTo(5),
        half: upTo(33),
        positionOffset: fc.nat(70),
        inverse: flag,
      },
      threaded: { batch: 4, sequence: 130, heads: 6, half: 25, positionOffset: 3, inverse: false },
    },
    ({ half, ...rest }, random) => {
      const shape = { ...rest, headDim: 2 * half, base: 10_000 };
      const x = random.reals(shape.batch * shape.sequence * shape.heads * shape.headDim);
      return kernelCall({
        operands: { x },
        run: (kernels, s) => kernels.rotary(s.x, shape),
        expected: () => ({ x: formula.rotary(x, shape) }),
      });
    },
  ),
  kernelCase("attentionForward", attentionSizes(upTo(70)), (sizes, random) => {
    const shape = attentionShape(sizes);
    const { q, k, v, out, logSumExp } = attentionOperands(shape, random);
    return kernelCall({
      operands: { out, logSumExp, q, k, v },
      run: (kernels, s) => kernels.attentionForward(s.out, s.logSumExp, s.q, s.k, s.v, shape),
      expected: () => formula.attention(q, k, v, shape),
    });
  }),
  kernelCase("attentionBackward", attentionSizes(upTo(70)), (sizes, random) => {
    const shape = attentionShape(sizes);
    const { q, k, v, out: dOut } = attentionOperands(shape, random);
    const [dq, dk, dv] = [random.reals(q.length), random.reals(k.length), random.reals(v.length)];
    const loss = (...[ofQ, ofK, ofV]: readonly [Float64Array, Float64Array, Float64Array]) =>
      formula.innerProduct(dOut, formula.attention(ofQ, ofK, ofV, shape).out);
    return kernelCall({
      operands: { dq, dk, dv, dOut, q, k, v, ...formula.attention(q, k, v, shape) },
      run: (kernels, s) =>
        kernels.attentionBackward(s.dq, s.dk, s.dv, s.dOut, s.q, s.k, s.v, s.out, s.logSumExp, shape),
      expected: () => ({
        dq: formula.numericGradient((at) => loss(at, k, v), q),
        dk: formula.numericGradient((at) => loss(q, at, v), k),
        dv: formula.numericGradient((at) => loss(q, k, at), v),
      }),
    });
  }),
  kernelCase("swigluForward", lengths(40_000), ({ length }, random) => {
    const [gate, up] = [random.reals(length, -9, 9), random.reals(length)];
    return kernelCall({
      operands: { out: random.reals(length), gate, up },
      run: (kernels, s) => kernels.swigluForward(s.out, s.gate, s.up),
      expected: () => ({ out: formula.swiglu(gate, up) }),
    });
  }),
  kernelCase("swigluBackward", lengths(40_000), ({ length }, random) => {
    const [gate, up, dOut] = [random.reals(length, -9, 9), random.reals(length), random.reals(length)];
    const loss = (ofGate: Float64Array, ofUp: Float64Array) => formula.innerProduct(dOut, formula.swiglu(ofGate, ofUp));
    return kernelCall({
      operands: {
        dGate: random.reals(length),
        dUp: random.reals(length),
        activated: random.reals(length),
        dOut,
        gate,
        up,
      },
      run: (kernels, s) => kernels.swigluBackward(s.dGate, s.dUp, s.activated, s.dOut, s.gate, s.up),
      expected: () => ({
        activated: formula.swiglu(gate, up),
        dGate: formula.numericGradient((at) => loss(at, up), gate),
        dUp: formula.numericGradient((at) => loss(gate, at), up),
      }),
    });
  }),
  kernelCase("crossEntropy", rowSizes({ rows: 150, width: 290 }), ({ rows, width }, random) => {
    const logits = random.reals(rows * width, -12, 12);
    const targets = random.tokens(rows, width);
    const gradientScale = 0.125;
    return kernelCall({
      operands: { losses: random.reals(rows), logits, targets },
      run: (kernels, s) => kernels.crossEntropy(s.losses, s.logits, s.targets, { rows, width, gradientScale }),
      expected: () => {
        const losses = (at: Float64Array) => formula.crossEntropyLosses(at, targets, width);
        const scaled = (at: Float64Array) => gradientScale * losses(at).reduce((sum, loss) => sum + loss, 0);
        return { losses: losses(logits), logits: formula.numericGradient(scaled, logits) };
      },
    });
  }),
  kernelCase("squaredNorm", lengths(530_000), ({ length }, random) => {
    const x = random.reals(length);
    return kernelCall({
      operands: { out: random.reals(1), x },
      run: (kernels, s) => kernels.squaredNorm(s.out, s.x),
      expected: () => ({ out: Float64Array.of(formula.innerProduct(x, x)) }),
    });
  }),
  kernelCase(
    "adam",
    {
      small: { length: upTo(70), nesterov: flag },
      large: { length: fc.oneof(upTo(100), upTo(40_000)), nesterov: flag },
      threaded: { length: 40_000, nesterov: true },
    },
    ({ length, nesterov }, random) => {
      const [parameters, gradients] = [random.reals(length), random.reals(length)];
      const [firstMoment, secondMoment] = [random.reals(length), random.reals(length, 0.01, 2)];
      const betas = { gradientScale: 0.5, beta1: 0.9, beta2: 0.95 };
      const rates = { momentRate: 0.07, gradientRate: nesterov ? 0.03 : 0, rootScale: 2.6, decayRate: 0.002 };
      const options = { ...betas, ...rates, epsilon: 1e-8 };
      return kernelCall({
        operands: { parameters, gradients, firstMoment, secondMoment },
        run: (kernels, s) => kernels.adam(s.parameters, s.gradients, s.firstMoment, s.secondMoment, options),
        expected: () => formula.adam(parameters, gradients, firstMoment, secondMoment, options),
      });
    },
  ),
  kernelCase("outerNesterov", lengths(100_000), ({ length }, random) => {
    const [parameters, momentumBuffer, pseudoGradient] = [
      random.reals(length),
      random.reals(length),
      random.reals(length),
    ];
    const options = { learningRate: 0.7, momentum: 0.9 };
    return kernelCall({
      operands: { parameters, momentumBuffer, pseudoGradient },
      run: (kernels, s) => kernels.outerNesterov(s.parameters, s.momentumBuffer, s.pseudoGradient, options),
      expected: () => {
        const velocity = formula.zipped(momentumBuffer, pseudoGradient, (before, g) => 0.9 * before + g);
        const direction = formula.zipped(velocity, pseudoGradient, (v, g) => g + 0.9 * v);
        return {
          momentumBuffer: velocity,
          parameters: formula.zipped(parameters, direction, (before, d) => before - 0.7 * d),
        };
      },
    });
  }),
];

function added(before: Float64Array, amount: Float64Array): Float64Array {
  return formula.zipped(before, amount, (a, b) => a + b);
}

function attentionOperands(shape: ReturnType<typeof attentionShape>, random: RandomValues) {
  const { batch, queries, keys, heads, keyValueHeads, headDim } = shape;
  const queryLength = batch * queries * heads * headDim;
  const keyLength = batch * keys * keyValueHeads * headDim;
  return {
    q: random.reals(queryLength),
    k: random.reals(keyLength),
    v: random.reals(keyLength),
    out: random.reals(queryLength),
    logSumExp: random.reals(batch * heads * queries),
  };
}
