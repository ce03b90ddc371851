/**
 * Dao 2022, alg. 4, in three programs, so that every sum has one owner and no atomics are needed: the gradient is the same
 * bits every time. With p the softmax of the scores s: ds = p · (d_out · v − delta), delta = d_out · out,
 * dq = Σ ds · k, dk = Σ ds · q, dv = Σ p · d_out. Shapes as in the contract; delta as logSumExp.
 */
import { elementwise, type Program } from "../program.ts";
import {
  attentionFactors,
  attentionLanes,
  attentionParameters,
  attentionTiles,
  queryBlock,
  tileLoads,
} from "./attention-tiles.ts";
import type { FactorPrecision } from "./factors.ts";

/** delta[row] = d_out · out over one head's channels; i counts [sequence, head, query]. */
export const attentionDelta = elementwise({
  name: "attention backward, delta",
  operands: { delta: ["write", "f32"], d_out: ["read", "f32"], out: ["read", "f32"] },
  parameters: { queries: "u32", heads: "u32", head_dim: "u32" },
  body: /* wgsl */ `
    let query = i % given.queries;
    let head = i / given.queries % given.heads;
    let sequence = i / given.queries / given.heads;
    let first = ((sequence * given.queries + query) * given.heads + head) * given.head_dim;
    var sum = 0.0;
    for (var c = 0u; c < given.head_dim; c++) { sum += d_out[first + c] * out[first + c]; }
    delta[i] = sum;`,
});

/** log_sum_exp and delta of four queries. */
const queryStatistics = /* wgsl */ `
  fn log_sum_exps(rows: vec4u) -> vec4f {
    return vec4f(log_sum_exp[rows.x], log_sum_exp[rows.y], log_sum_exp[rows.z], log_sum_exp[rows.w]);
  }
  fn deltas(rows: vec4u) -> vec4f {
    return vec4f(delta[rows.x], delta[rows.y], delta[rows.z], delta[rows.w]);
  }`;

/** dq: a workgroup takes 32 queries of one head through the keys they saw. Tile rows are queries, columns keys. */
export function attentionBackwardQuery(precision: FactorPrecision, chunks: number) {
  const factors = attentionFactors(precision, "backward");
  const { product, multiplied } = factors;
  const load = tileLoads(factors);
  return {
    name: `attention backward, query, ${precision}, ${chunks}`,
    ...factors.program,
    lanes: attentionLanes,
    operands: {
      dq: ["write", "f32"],
      d_out: ["read", "f32"],
      q: ["read", "f32"],
      k: ["read", "f32"],
      v: ["read", "f32"],
      log_sum_exp: ["read", "f32"],
      delta: ["read", "f32"],
      ...factors.operands,
    },
    parameters: attentionParameters,
    declarations: /* wgsl */ `
      ${attentionTiles(factors, chunks, { queries: ["q", "d_out", "dq"], keys: ["k", "v"], written: ["dq"] })}
      ${queryStatistics}`,
    body: /* wgsl */ `
      ${queryBlock}
      ${factors.find}
      let rows_log_sum_exp = log_sum_exps(query_rows);
      let rows_delta = deltas(query_rows);
      var sums: array<mat4x4f, chunks>;
      for (var key_first = 0u; key_first < block_visible; key_first += 32u) {
        var scores = mat4x4f();
        var d_weights = mat4x4f();
        for (var chunk = 0u; chunk < chunks; chunk++) {
          ${load.byChannel("left", "q", "queries_base", "block_first")}
          ${load.byChannel("right", "k", "keys_base", "key_first")}
          workgroupBarrier();
          scores += product(row_quad, column_quad);
          workgroupBarrier();
          ${load.byChannel("left", "d_out", "queries_base", "block_first")}
          ${load.byChannel("right", "v", "keys_base", "key_first")}
          workgroupBarrier();
          d_weights += product(row_quad, column_quad);
          workgroupBarrier();
        }
        let keys = key_first + 4u * column_quad + vec4u(0u, 1u, 2u, 3u);
        var d_scores = mat4x4f();
        for (var r = 0u; r < 4u; r++) {
          let seen = keys <= vec4u(past + queries[r]);
          let weights = select(vec4f(), exp(${product("given.scale * scores[r]", "q", "k")} - rows_log_sum_exp[r]), seen);
          d_scores[r] = given.scale * weights * (${product("d_weights[r]", "v", "d_out")} - rows_delta[r]);
        }
        keep_as_left(row_quad, column_quad, ${multiplied("d_scores", "d_scores")});
        for (var chunk = 0u; chunk < chunks; chunk++) {
          ${load.byRow("k", "keys_base", "key_first")}
          workgroupBarrier();
          sums[chunk] += product(row_quad, column_quad);
          workgroupBarrier();
        }
      }
      for (var chunk = 0u; chunk < chunks; chunk++) {
        store_dq(queries_base, queries[0], chunk * 32u + 4u * column_quad, ${product("sums[chunk]", "d_scores", "k")});
      }`,
  } as const satisfies Program;
}

/**
 * dk and dv: a workgroup takes 32 keys of one key-value head through the queries, of all heads that share it, that saw
 * them. Tile rows are keys, columns queries: all scores and weights are transposed.
 */
export function attentionBackwardKeyValue(precision: FactorPrecision, chunks: number) {
  const factors = attentionFactors(precision, "backward");
  const { product, multiplied } = factors;
  const load = tileLoads(factors);
  return {
    name: `attention backward, key and value, ${precision}, ${chunks}`,
    ...factors.program,
    lanes: attentionLanes,
    operands: {
      dk: ["write", "f32"],
      dv: ["write", "f32"],
      d_out: ["read", "f32"],
      q: ["read", "f32"],
      k: ["read", "f32"],
      v: ["read", "f32"],
      log_sum_exp: ["read", "f32"],
      delta: ["read", "f32"],
      ...factors.operands,
    },
    parameters: attentionParameters,
    declarations: /* wgsl */ `
      ${attentionTiles(factors, chunks, { queries: ["q", "d_out"], keys: ["k", "v", "dk", "dv"], written: ["dk", "dv"] })}
      ${queryStatistics}`,
    body: /* wgsl */ `
      ${factors.find}
      let row_quad = lane / 8u;
      let column_quad = lane % 8u;
      let blocks = (given.keys + 31u) / 32u;
      let block_first = group % blocks * 32u;
      let key_value_head = group / blocks % given.key_value_heads;
      let sequence = group / blocks / given.key_value_heads;
      let heads_per_group = given.heads / given.key_value_heads;
      let keys_base = key_base(sequence, key_value_head);
      let past = given.keys - given.queries;
      let first_seeing_query = select(0u, block_first - past, block_first > past);

      let first_key = block_first + 4u * row_quad;
      var dk_sums: array<mat4x4f, chunks>;
      var dv_sums: array<mat4x4f, chunks>;
      for (var member = 0u; member < heads_per_group; member++) {
        let head = key_value_head * heads_per_group + member;
        let queries_base = query_base(sequence, head);
        for (var query_first = first_seeing_query / 32u * 32u; query_first < given.queries; query_first += 32u) {
          var scores = mat4x4f();
          var d_weights = mat4x4f();
          for (var chunk = 0u; chunk < chunks; chunk++) {
            ${load.byChannel("left", "k", "keys_base", "block_first")}
            ${load.byChannel("right", "q", "queries_base", "query_first")}
            workgroupBarrier();
            scores += product(row_quad, column_quad);
            workgroupBarrier();
            ${load.byChannel("left", "v", "keys_base", "block_first")}
            ${load.byChannel("right", "d_out", "queries_base", "query_first")}
            workgroupBarrier();
            d_weights += product(row_quad, column_quad);
            workgroupBarrier();
          }
          let queries = query_first + 4u * column_quad + vec4u(0u, 1u, 2u, 3u);
          let query_rows = (sequence * given.heads + head) * given.queries + min(queries, vec4u(given.queries - 1u));
          let columns_log_sum_exp = log_sum_exps(query_rows);
          let columns_delta = deltas(query_rows);
          for (var r = 0u; r < 4u; r++) {
            let seen = (vec4u(first_key + r) <= past + queries) & (queries < vec4u(given.queries));
            let weights = select(vec4f(), exp(${product("given.scale * scores[r]", "q", "k")} - columns_log_sum_exp), seen);
            scores[r] = weights;
            d_weights[r] = given.scale * weights * (${product("d_weights[r]", "v", "d_out")} - columns_delta);
          }
          keep_as_left(row_quad, column_quad, ${multiplied("weights", "scores")});
          for (var chunk = 0u; chunk < chunks; chunk++) {
            ${load.byRow("d_out", "queries_base", "query_first")}
            workgroupBarrier();
            dv_sums[chunk] += product(row_quad, column_quad);
            workgroupBarrier();
          }
          keep_as_left(row_quad, column_quad, ${multiplied("d_scores", "d_weights")});
          for (var chunk = 0u; chunk < chunks; chunk++) {
            ${load.byRow("q", "queries_base", "query_first")}
            workgroupBarrier();
            dk_sums[chunk] += product(row_quad, column_quad);
            workgroupBarrier();
          }
        }
      }
      for (var chunk = 0u; chunk < chunks; chunk++) {
        let channel = chunk * 32u + 4u * column_quad;
        store_dk(keys_base, first_key, channel, ${product("dk_sums[chunk]", "d_scores", "q")});
        store_dv(keys_base, first_key, channel, ${product("dv_sums[chunk]", "weights", "d_out")});
      }`,
  } as const satisfies Program;
}
