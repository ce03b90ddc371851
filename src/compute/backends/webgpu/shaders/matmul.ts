import type { Program } from "../program.ts";
import { type FactorPrecision, factors } from "./factors.ts";

/** Rows and columns of the product that one workgroup of 64 lanes computes. */
export const matmulTile = 64;

/**
 * out[m, n] (+)= a · b. A workgroup walks down the contracted dimension 16 at a time: it brings 64 rows of `a` and 64
 * columns of `b` into workgroup memory, where four neighbouring rows (columns) of one depth are one vector, a quad. Every
 * lane multiplies 8 rows by 8 columns, quads q and q + 8 of each; a matrix m holds 4 × 4 of them as m[row][column]. Reads
 * of a stored and of a transposed operand differ in which way neighbouring lanes lie: both read neighbouring elements.
 */
export function matmul(precision: FactorPrecision, transposeA: boolean, transposeB: boolean) {
  const { program, operands, declarations, find, quad, rounded, product } = factors(precision, ["a", "b"]);
  return {
    name: `matmul, ${precision}${transposeA ? ", a transposed" : ""}${transposeB ? ", b transposed" : ""}`,
    ...program,
    lanes: 64,
    operands: { out: ["write", "f32"], a: ["read", "f32"], b: ["read", "f32"], ...operands },
    parameters: { m: "u32", n: "u32", k: "u32", accumulate: "u32" },
    declarations: /* wgsl */ `
      // [depth 16][quad 16], with one more quad per depth to spread them over the memory's banks.
      const pitch = 17u;
      var<workgroup> a_tile: array<${quad}, 16 * pitch>;
      var<workgroup> b_tile: array<${quad}, 16 * pitch>;
      ${declarations}

      fn a_at(row: u32, depth: u32) -> f32 {
        let value = a[${transposeA ? "depth * given.m + row" : "row * given.k + depth"}];
        return select(0.0, value, row < given.m && depth < given.k);
      }
      fn b_at(depth: u32, column: u32) -> f32 {
        let value = b[${transposeB ? "column * given.k + depth" : "depth * given.n + column"}];
        return select(0.0, value, column < given.n && depth < given.k);
      }
      fn outer(rows: vec4f, columns: vec4f) -> mat4x4f {
        return mat4x4f(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
      }
      fn store(first_row: u32, first_column: u32, sums: mat4x4f) {
        for (var r = 0u; r < 4u; r++) {
          for (var c = 0u; c < 4u; c++) {
            if (first_row + r < given.m && first_column + c < given.n) {
              let i = (first_row + r) * given.n + first_column + c;
              if (given.accumulate == 1u) { out[i] += sums[r][c]; } else { out[i] = sums[r][c]; }
            }
          }
        }
      }`,
    body: /* wgsl */ `
      ${find}
      let tiles_across = (given.n + 63u) / 64u;
      let first_row = group / tiles_across * 64u;
      let first_column = group % tiles_across * 64u;
      let row_quad = lane / 8u;
      let column_quad = lane % 8u;
      var low_low = mat4x4f();
      var low_high = mat4x4f();
      var high_low = mat4x4f();
      var high_high = mat4x4f();
      for (var first_depth = 0u; first_depth < given.k; first_depth += 16u) {
        for (var place = lane; place < 256u; place += 64u) {
          let fast = place % 16u;
          let slow = place / 16u;
          let a_depth = ${transposeA ? "slow" : "fast"};
          let a_quad = ${transposeA ? "fast" : "slow"};
          let b_depth = ${transposeB ? "fast" : "slow"};
          let b_quad = ${transposeB ? "slow" : "fast"};
          let r = first_row + 4u * a_quad;
          let c = first_column + 4u * b_quad;
          let da = first_depth + a_depth;
          let db = first_depth + b_depth;
          let a_rows = vec4f(a_at(r, da), a_at(r + 1u, da), a_at(r + 2u, da), a_at(r + 3u, da));
          let b_columns = vec4f(b_at(db, c), b_at(db, c + 1u), b_at(db, c + 2u), b_at(db, c + 3u));
          a_tile[a_depth * pitch + a_quad] = ${rounded("a", "a_rows")};
          b_tile[b_depth * pitch + b_quad] = ${rounded("b", "b_columns")};
        }
        workgroupBarrier();
        for (var depth = 0u; depth < 16u; depth++) {
          let rows_low = vec4f(a_tile[depth * pitch + row_quad]);
          let rows_high = vec4f(a_tile[depth * pitch + row_quad + 8u]);
          let columns_low = vec4f(b_tile[depth * pitch + column_quad]);
          let columns_high = vec4f(b_tile[depth * pitch + column_quad + 8u]);
          low_low += outer(rows_low, columns_low);
          low_high += outer(rows_low, columns_high);
          high_low += outer(rows_high, columns_low);
          high_high += outer(rows_high, columns_high);
        }
        workgroupBarrier();
      }
      let row = first_row + 4u * row_quad;
      let column = first_column + 4u * column_quad;
      store(row, column, ${product("low_low", "a", "b")});
      store(row, column + 32u, ${product("low_high", "a", "b")});
      store(row + 32u, column, ${product("high_low", "a", "b")});
      store(row + 32u, column + 32u, ${product("high_high", "a", "b")});`,
  } as const satisfies Program;
}
