/** Matrix products by the units that GPUs have for them, where WGSL reaches these: `chromium_experimental_subgroup_matrix`. */
import type { Program } from "../program.ts";
import { factors } from "./factors.ts";
import { matmulTile } from "./matmul.ts";

/** Small matrices that a subgroup multiplies as a whole: f16 [rows, depth] · f16 [depth, columns], added to f32 [rows, columns]. */
export interface SubgroupMatrices {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Lanes of every subgroup. */
  readonly subgroupSize: number;
}

/** What a workgroup brings of each operand at once, and the side of the part of its tile that each of four subgroups computes. */
const depthAtOnce = 16;
const quarter = matmulTile / 2;
const mostLanes = 256;

/** Whether `matmulByMatrices` can be made of such matrices. */
export function areUsable({ rows, columns, depth, subgroupSize }: SubgroupMatrices): boolean {
  return (quarter % rows) + (quarter % columns) + (depthAtOnce % depth) === 0 && 4 * subgroupSize <= mostLanes;
}

/**
 * As `matmul` in f16. Each of a workgroup's four subgroups keeps a quarter of the 64 × 64 tile, as matrices, and they multiply
 * what they have brought together. Matrices cannot be cut at the product's edge, so they pass through workgroup memory.
 */
export function matmulByMatrices(matrices: SubgroupMatrices, transposeA: boolean, transposeB: boolean) {
  const { rows, columns, depth, subgroupSize } = matrices;
  const lanes = 4 * subgroupSize;
  const { operands, declarations, find, multiplied, product } = factors("f16", ["a", "b"], lanes);
  const steps = upTo(depthAtOnce / depth);
  const down = upTo(quarter / rows);
  const across = upTo(quarter / columns);
  const all = (each: (i: number, j: number) => string) => down.flatMap((i) => across.map((j) => each(i, j))).join("\n");
  return {
    name: `matmul, by ${rows} × ${columns} × ${depth}${transposeA ? ", a transposed" : ""}${transposeB ? ", b transposed" : ""}`,
    enables: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
    lanes,
    operands: { out: ["write", "f32"], a: ["read", "f32"], b: ["read", "f32"], ...operands },
    parameters: { m: "u32", n: "u32", k: "u32", accumulate: "u32" },
    declarations: /* wgsl */ `
      var<workgroup> a_tile: array<f16, 64 * ${depthAtOnce}>;
      var<workgroup> b_tile: array<f16, ${depthAtOnce} * 64>;
      // Of each subgroup.
      const part = ${rows * columns}u;
      var<workgroup> parts: array<f32, 4 * part>;
      ${declarations}

      fn a_at(row: u32, depth: u32) -> f32 {
        let value = a[${transposeA ? "depth * given.m + row" : "row * given.k + depth"}];
        return select(0.0, value, row < given.m && depth < given.k);
      }
      fn b_at(depth: u32, column: u32) -> f32 {
        let value = b[${transposeB ? "column * given.k + depth" : "depth * given.n + column"}];
        return select(0.0, value, column < given.n && depth < given.k);
      }`,
    body: /* wgsl */ `
      ${find}
      let tiles_across = (given.n + 63u) / 64u;
      let first_row = group / tiles_across * 64u;
      let first_column = group % tiles_across * 64u;
      let quarter_row = subgroup_id / 2u * ${quarter}u;
      let quarter_column = subgroup_id % 2u * ${quarter}u;
      ${all((i, j) => `var sums_${i}_${j}: subgroup_matrix_result<f32, ${columns}, ${rows}>;`)}
      for (var first_depth = 0u; first_depth < given.k; first_depth += ${depthAtOnce}u) {
        for (var place = lane; place < ${64 * depthAtOnce}u; place += ${lanes}u) {
          let across = place % 64u;
          let down = place / 64u;
          let fast = place % ${depthAtOnce}u;
          let slow = place / ${depthAtOnce}u;
          let a_row = ${transposeA ? "across" : "slow"};
          let a_depth = ${transposeA ? "down" : "fast"};
          let b_column = ${transposeB ? "slow" : "across"};
          let b_depth = ${transposeB ? "fast" : "down"};
          let a_value = a_at(first_row + a_row, first_depth + a_depth);
          let b_value = b_at(first_depth + b_depth, first_column + b_column);
          a_tile[a_row * ${depthAtOnce}u + a_depth] = f16(${multiplied("a", "a_value")});
          b_tile[b_depth * 64u + b_column] = f16(${multiplied("b", "b_value")});
        }
        workgroupBarrier();
        ${steps.map((step) => `{ ${multiplyStep(step)} }`).join("\n")}
        workgroupBarrier();
      }
      ${all(
        (i, j) => /* wgsl */ `
      subgroupMatrixStore<row_major>(&parts, subgroup_id * part, sums_${i}_${j}, ${columns}u);
      workgroupBarrier();
      for (var place = lane; place < 4u * part; place += ${lanes}u) {
        let owner = place / part;
        let row = first_row + owner / 2u * ${quarter}u + ${i * rows}u + place % part / ${columns}u;
        let column = first_column + owner % 2u * ${quarter}u + ${j * columns}u + place % ${columns}u;
        if (row < given.m && column < given.n) {
          let i = row * given.n + column;
          let value = ${product("parts[place]", "a", "b")};
          if (given.accumulate == 1u) { out[i] += value; } else { out[i] = value; }
        }
      }
      workgroupBarrier();`,
      )}`,
  } as const satisfies Program;

  function multiplyStep(step: number): string {
    const [left, right] = [
      `subgroup_matrix_left<f16, ${depth}, ${rows}>`,
      `subgroup_matrix_right<f16, ${columns}, ${depth}>`,
    ];
    const lefts = down.map((i) => {
      const place = `(quarter_row + ${i * rows}u) * ${depthAtOnce}u + ${step * depth}u`;
      return `let left_${i} = subgroupMatrixLoad<${left}, row_major>(&a_tile, ${place}, ${depthAtOnce}u);`;
    });
    const rights = across.map((j) => {
      const place = `${step * depth * 64}u + quarter_column + ${j * columns}u`;
      return `let right_${j} = subgroupMatrixLoad<${right}, row_major>(&b_tile, ${place}, 64u);`;
    });
    const products = all(
      (i, j) => `sums_${i}_${j} = subgroupMatrixMultiplyAccumulate(left_${i}, right_${j}, sums_${i}_${j});`,
    );
    return [...lefts, ...rights, products].join("\n");
  }
}

function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}
