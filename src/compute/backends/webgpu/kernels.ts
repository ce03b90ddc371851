/** The contract's kernels as runs of programs: how many workgroups, what they cost, and which working space they need. */
import { type AttentionShape, type Kernels, type Slice, slice } from "../../kernels.ts";
import { indicesBelow, indicesOf, type WebGpuMemory } from "./memory.ts";
import { lanes, type Program } from "./program.ts";
import { operationsPerElement, type WebGpuQueue } from "./queue.ts";
import { createRotaryTables } from "./rotary-tables.ts";
import { createScratch } from "./scratch.ts";
import { attentionBackwardKeyValue, attentionBackwardQuery, attentionDelta } from "./shaders/attention-backward.ts";
import { attentionForward } from "./shaders/attention-forward.ts";
import { attentionTile, chunksOf } from "./shaders/attention-tiles.ts";
import * as each from "./shaders/elementwise.ts";
import { embeddingBackward, embeddingForward } from "./shaders/embedding.ts";
import { type FactorPrecision, largest, largestParts } from "./shaders/factors.ts";
import { crossEntropy } from "./shaders/loss.ts";
import { matmul, matmulTile } from "./shaders/matmul.ts";
import { matmulByMatrices, type SubgroupMatrices } from "./shaders/matmul-by-matrices.ts";
import {
  addColumnSums,
  rmsNormBackwardGain,
  rmsNormBackwardInput,
  rmsNormForward,
  rowsPerGainSum,
} from "./shaders/norm.ts";
import { elementsPerSum, type Reductions, reducingLanes, sum, sumOfSquares } from "./shaders/reductions.ts";

export interface KernelOptions {
  readonly precision: FactorPrecision;
  readonly reductions: Reductions;
  /** What products in f16 are computed by, where the GPU has it. */
  readonly matrices?: SubgroupMatrices | null;
}

export function webGpuKernels(
  memory: WebGpuMemory,
  queue: WebGpuQueue,
  { precision, reductions, matrices = null }: KernelOptions,
): Kernels {
  const scratch = createScratch(memory, queue);
  const rotaryTables = createRotaryTables(memory, queue);

  /** One invocation per element; `reads`: what each of them reads, if it is more than the operands. */
  function forEach<Operand extends string, Parameter extends string>(
    program: Program<Operand, Parameter | "count">,
    count: number,
    operands: Readonly<Record<Operand, Slice>>,
    parameters: Readonly<Record<Exclude<Parameter, "count">, number>>,
    reads = Object.keys(operands).length,
  ): void {
    const work = { groups: Math.ceil(count / lanes), operationsPerGroup: lanes * reads * operationsPerElement };
    queue.run(program as Program, operands, { ...parameters, count }, work);
  }

  /** Elements that are gone through at once: so few that two operands in one buffer can be bound (`bindings.ts`). */
  const elementsAtOnce = Math.max(1, Math.floor(queue.bindingElements / 4 / elementsPerSum)) * elementsPerSum;

  /** One invocation per element of operands that are all of one length, however long. */
  function forAll<Operand extends string, Parameter extends string>(
    program: Program<Operand, Parameter | "count">,
    operands: Readonly<Record<Operand, Slice>>,
    parameters: Readonly<Record<Exclude<Parameter, "count">, number>>,
  ): void {
    const all = Object.entries<Slice>(operands);
    const count = all[0]?.[1].length ?? 0;
    for (let first = 0; first < count; first += elementsAtOnce) {
      const length = Math.min(elementsAtOnce, count - first);
      const parts = all.map(([name, { buffer, offset }]) => [name, slice(buffer, offset + first, length)]);
      forEach(program, length, Object.fromEntries(parts) as Record<Operand, Slice>, parameters);
    }
  }

  /** One workgroup per row, which goes over it `passes` times. Short rows take as long as their lanes take to agree. */
  const perRow = (rows: number, width: number, passes: number) => ({
    groups: rows,
    operationsPerGroup: (width + 8 * reducingLanes) * passes * operationsPerElement,
  });

  /** Elements of working space that `rounding` needs for so many factors. */
  const largestLength = (factors: number) => (precision === "f16" ? factors * largestParts : 0);

  /** The operand that programs have besides when they round their factors, found in `working` space. */
  function rounding(factors: readonly Slice[], working: Slice): { readonly largest?: Slice } {
    if (precision === "f32") return {};
    factors.forEach((x, k) => {
      const part = slice(working.buffer, working.offset + k * largestParts, largestParts);
      const operationsPerGroup = Math.ceil(x.length / largestParts) * operationsPerElement;
      queue.run(
        largest(reductions),
        { largest: part, x },
        { count: x.length },
        { groups: largestParts, operationsPerGroup },
      );
    });
    return { largest: working };
  }

  /** Sums in a tree: every pass leaves one sum per 4,096 elements, until there is one. */
  function squaredNorm(out: Slice, x: Slice): void {
    const firstSums = Math.max(1, Math.ceil(x.length / elementsPerSum));
    const partial = scratch.reals(firstSums + Math.ceil(firstSums / elementsPerSum));
    let [program, source]: [Program<"sums" | "x", "count">, Slice] = [sumOfSquares(reductions), x];
    // Two parts of the working space take turns; the second one has room for all passes but the first.
    let offset = 0;
    for (;;) {
      const groups = Math.max(1, Math.ceil(source.length / elementsPerSum));
      const sums = groups === 1 ? out : slice(partial.buffer, offset, groups);
      for (let first = 0; first < Math.max(1, source.length); first += elementsAtOnce) {
        const count = Math.min(elementsAtOnce, source.length - first);
        const part = slice(source.buffer, source.offset + first, count);
        const partGroups = Math.max(1, Math.ceil(count / elementsPerSum));
        const partSums = slice(sums.buffer, sums.offset + first / elementsPerSum, partGroups);
        const work = { groups: partGroups, operationsPerGroup: elementsPerSum * operationsPerElement };
        queue.run(program, { sums: partSums, x: part }, { count }, work);
      }
      if (groups === 1) return;
      [program, source] = [sum(reductions), sums];
      offset = offset === 0 ? firstSums : 0;
    }
  }

  return {
    fill: (out, value) => forAll(each.fill, { out }, { value }),
    copy(out, source) {
      if (out.buffer.element === "index") indicesOf(out).set(indicesOf(source));
      forAll(each.copy, { out, source }, {});
    },
    add: (out, a, b) => forAll(each.add, { out, a, b }, {}),
    addScaled: (out, x, factor) => forAll(each.addScaled, { out, x }, { factor }),
    addColumns: (out, source, { rows, columns, outWidth, sourceWidth }) =>
      forEach(
        each.addColumns,
        rows * columns,
        { out, source },
        { columns, out_width: outWidth, source_width: sourceWidth },
      ),

    matmul(out, a, b, { m, n, k, transposeA = false, transposeB = false, accumulate = false }) {
      const groups = Math.ceil(m / matmulTile) * Math.ceil(n / matmulTile);
      const work = { groups, operationsPerGroup: 2 * matmulTile ** 2 * k };
      const parameters = { m, n, k, accumulate: accumulate ? 1 : 0 };
      const program =
        precision === "f16" && matrices !== null
          ? matmulByMatrices(matrices, transposeA, transposeB)
          : matmul(precision, transposeA, transposeB);
      queue.run(program, { out, a, b, ...rounding([a, b], scratch.reals(largestLength(2))) }, parameters, work);
    },

    embeddingForward(out, table, tokens, { width }) {
      indicesBelow(tokens, table.length / width, "token");
      forEach(embeddingForward, out.length, { out, table, tokens }, { width });
    },
    embeddingBackward(d_table, d_out, tokens, { rows, width }) {
      const { order, starts } = sortedRows(indicesBelow(tokens, d_table.length / width, "token"));
      const both = scratch.indices(Int32Array.from([...order, ...starts]));
      const operands = { order: slice(both.buffer, 0, rows), starts: slice(both.buffer, rows, starts.length) };
      const distinct = starts.length - 1;
      const reads = 2 + rows / distinct;
      forEach(embeddingBackward, distinct * width, { d_table, d_out, tokens, ...operands }, { width }, reads);
    },

    rmsNormForward: (out, inverse_rms, x, gain, { rows, width, epsilon }) =>
      queue.run(rmsNormForward(reductions), { out, inverse_rms, x, gain }, { width, epsilon }, perRow(rows, width, 4)),
    rmsNormBackward(dx, dGain, d_out, x, gain, inverse_rms, { rows, width }) {
      queue.run(
        rmsNormBackwardInput(reductions),
        { dx, d_out, x, gain, inverse_rms },
        { width },
        perRow(rows, width, 8),
      );
      const chunks = Math.ceil(rows / rowsPerGainSum);
      const sums = scratch.reals(chunks * width);
      forEach(rmsNormBackwardGain, sums.length, { sums, d_out, x, inverse_rms }, { rows, width }, 2 * rowsPerGainSum);
      forEach(addColumnSums, width, { out: dGain, sums }, { rows: chunks }, chunks);
    },

    rotary(x, { sequence, heads, headDim, base, positionOffset, inverse }) {
      const turns = rotaryTables.table(base, headDim, positionOffset + sequence);
      const shape = { sequence, heads, half: headDim / 2, position_offset: positionOffset };
      forEach(each.rotary, x.length / 2, { x, turns }, { ...shape, direction: inverse ? -1 : 1 });
    },

    attentionForward(out, log_sum_exp, q, k, v, shape) {
      const operands = { out, log_sum_exp, q, k, v, ...rounding([q, k, v], scratch.reals(largestLength(3))) };
      const program = attentionForward(precision, chunksOf(shape.headDim));
      queue.run(program, operands, attentionParameters(shape), perQueries(shape, 2));
    },
    attentionBackward(dq, dk, dv, d_out, q, k, v, out, log_sum_exp, shape) {
      const { queries, heads, headDim } = shape;
      // In one buffer: with another one the last program would bind more than there may be.
      const { buffer } = scratch.reals(log_sum_exp.length + largestLength(4));
      const delta = slice(buffer, 0, log_sum_exp.length);
      const working = slice(buffer, delta.length, largestLength(4));
      forEach(attentionDelta, delta.length, { delta, d_out, out }, { queries, heads, head_dim: headDim }, 2 * headDim);
      const operands = { d_out, q, k, v, log_sum_exp, delta, ...rounding([q, k, v, d_out], working) };
      const parameters = attentionParameters(shape);
      const chunks = chunksOf(headDim);
      queue.run(attentionBackwardQuery(precision, chunks), { dq, ...operands }, parameters, perQueries(shape, 3));
      queue.run(attentionBackwardKeyValue(precision, chunks), { dk, dv, ...operands }, parameters, perKeys(shape, 4));
    },

    swigluForward: (out, gate, up) => forAll(each.swigluForward, { out, gate, up }, {}),
    swigluBackward: (d_gate, d_up, activated, d_out, gate, up) =>
      forAll(each.swigluBackward, { d_gate, d_up, activated, d_out, gate, up }, {}),

    crossEntropy(losses, logits, targets, { rows, width, gradientScale }) {
      indicesBelow(targets, width, "target");
      const operands = { losses, logits, targets };
      queue.run(crossEntropy(reductions), operands, { width, gradient_scale: gradientScale }, perRow(rows, width, 4));
    },

    squaredNorm,

    adam(parameters, gradients, first_moment, second_moment, options) {
      const { beta1, beta2 } = options;
      const operands = { parameters, gradients, first_moment, second_moment };
      forAll(each.adam, operands, {
        gradient_scale: options.gradientScale,
        beta1,
        one_minus_beta1: 1 - beta1,
        beta2,
        one_minus_beta2: 1 - beta2,
        moment_rate: options.momentRate,
        gradient_rate: options.gradientRate,
        root_scale: options.rootScale,
        epsilon: options.epsilon,
        decay_rate: options.decayRate,
      });
    },
    outerNesterov: (parameters, velocity, gradient, { learningRate, momentum }) =>
      forAll(each.outerNesterov, { parameters, velocity, gradient }, { learning_rate: learningRate, momentum }),
  };
}

/** Rows sorted by index, those of one index in order, and where each distinct index starts: `distinct + 1` numbers. */
function sortedRows(indices: Int32Array): { readonly order: readonly number[]; readonly starts: readonly number[] } {
  const rowsOf = Map.groupBy(indices.keys(), (row) => indices[row]);
  const starts = [0];
  for (const rows of rowsOf.values()) starts.push((starts.at(-1) ?? 0) + rows.length);
  return { order: [...rowsOf.values()].flat(), starts };
}

function attentionParameters({ queries, keys, heads, keyValueHeads, headDim }: AttentionShape) {
  return {
    queries,
    keys,
    heads,
    key_value_heads: keyValueHeads,
    head_dim: headDim,
    scale: 1 / Math.sqrt(headDim),
  };
}

/** `products`: of two 32 × 32 tiles, how many there are per chunk of channels. */
function perQueries({ batch, queries, keys, heads, headDim }: AttentionShape, products: number) {
  const tiles = Math.ceil(keys / attentionTile) * chunksOf(headDim);
  return {
    groups: batch * heads * Math.ceil(queries / attentionTile),
    operationsPerGroup: tiles * products * operationsPerTileProduct,
  };
}

function perKeys({ batch, queries, keys, heads, keyValueHeads, headDim }: AttentionShape, products: number) {
  const tiles = (heads / keyValueHeads) * Math.ceil(queries / attentionTile) * chunksOf(headDim);
  return {
    groups: batch * keyValueHeads * Math.ceil(keys / attentionTile),
    operationsPerGroup: tiles * products * operationsPerTileProduct,
  };
}

/** With what it takes to bring the two tiles. */
const operationsPerTileProduct = 2 * attentionTile ** 3 + 2 * attentionTile ** 2 * operationsPerElement;
