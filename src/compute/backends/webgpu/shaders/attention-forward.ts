import type { Program } from "../program.ts";
import {
  attentionFactors,
  attentionLanes,
  attentionParameters,
  attentionTiles,
  queryBlock,
  tileLoads,
} from "./attention-tiles.ts";
import type { FactorPrecision } from "./factors.ts";

/**
 * Dao 2022, alg. 1: a workgroup takes 32 queries of one head through the keys they may see, 32 at a time, and keeps for
 * every query the highest score so far, the sum of the weights, and the weighted sum of the values. The eight lanes of a
 * row quad all keep the first two, for their four queries. Shapes as in the contract.
 */
export function attentionForward(precision: FactorPrecision, chunks: number) {
  const factors = attentionFactors(precision, "forward");
  const { product } = factors;
  const load = tileLoads(factors);
  return {
    name: `attention forward, ${precision}, ${chunks}`,
    ...factors.program,
    lanes: attentionLanes,
    operands: {
      out: ["write", "f32"],
      log_sum_exp: ["write", "f32"],
      q: ["read", "f32"],
      k: ["read", "f32"],
      v: ["read", "f32"],
      ...factors.operands,
    },
    parameters: attentionParameters,
    declarations: /* wgsl */ `
      ${attentionTiles(factors, chunks, { queries: ["q", "out"], keys: ["k", "v"], written: ["out"] })}
      // Of a lane's four columns, by row.
      var<workgroup> lane_highest: array<vec4f, ${attentionLanes}>;
      var<workgroup> lane_total: array<vec4f, ${attentionLanes}>;

      fn scaled_rows(factors: vec4f, m: mat4x4f) -> mat4x4f {
        return mat4x4f(factors.x * m[0], factors.y * m[1], factors.z * m[2], factors.w * m[3]);
      }`,
    body: /* wgsl */ `
      ${queryBlock}
      ${factors.find}
      var highest = vec4f(lowest);
      var total = vec4f();
      var mixed: array<mat4x4f, chunks>;
      for (var key_first = 0u; key_first < block_visible; key_first += 32u) {
        var scores = mat4x4f();
        for (var chunk = 0u; chunk < chunks; chunk++) {
          ${load.byChannel("left", "q", "queries_base", "block_first")}
          ${load.byChannel("right", "k", "keys_base", "key_first")}
          workgroupBarrier();
          scores += product(row_quad, column_quad);
          workgroupBarrier();
        }
        let keys = key_first + 4u * column_quad + vec4u(0u, 1u, 2u, 3u);
        var rows_highest = vec4f();
        for (var r = 0u; r < 4u; r++) {
          let row = select(vec4f(lowest), ${product("given.scale * scores[r]", "q", "k")}, keys <= vec4u(past + queries[r]));
          scores[r] = row;
          rows_highest[r] = max(max(row.x, row.y), max(row.z, row.w));
        }
        lane_highest[lane] = rows_highest;
        workgroupBarrier();
        let before = highest;
        for (var other = 0u; other < 8u; other++) { highest = max(highest, lane_highest[row_quad * 8u + other]); }
        var rows_total = vec4f();
        for (var r = 0u; r < 4u; r++) {
          let weights = select(vec4f(), exp(scores[r] - highest[r]), keys <= vec4u(past + queries[r]));
          scores[r] = weights;
          rows_total[r] = dot(weights, vec4f(1.0));
        }
        lane_total[lane] = rows_total;
        keep_as_left(row_quad, column_quad, ${factors.multiplied("weights", "scores")});
        let kept = exp(before - highest);
        total *= kept;
        for (var chunk = 0u; chunk < chunks; chunk++) {
          ${load.byRow("v", "keys_base", "key_first")}
          workgroupBarrier();
          mixed[chunk] = scaled_rows(kept, mixed[chunk]) + product(row_quad, column_quad);
          workgroupBarrier();
        }
        for (var other = 0u; other < 8u; other++) { total += lane_total[row_quad * 8u + other]; }
      }
      for (var chunk = 0u; chunk < chunks; chunk++) {
        let channel = chunk * 32u + 4u * column_quad;
        store_out(queries_base, queries[0], channel, scaled_rows(${product("1.0 / total", "weights", "v")}, mixed[chunk]));
      }
      if (column_quad == 0u) {
        for (var r = 0u; r < 4u; r++) {
          if (queries[r] < given.queries) { log_sum_exp[query_rows[r]] = highest[r] + log(total[r]); }
        }
      }`,
  } as const satisfies Program;
}
