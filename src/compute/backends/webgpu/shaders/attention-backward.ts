/**
 * Dao 2022, alg. 4, in three programs, so that every sum has one owner and no atomics are needed: the gradient is the same
 * bits every time. With p the softmax of the scores s: ds = p · (d_out · v − delta), delta = d_out · out,
 * dq = Σ ds · k, dk = Σ ds · q, dv = Σ p · d_out. Shapes as in the contract; delta as logSumExp.
 */
import { elementwise, type Program } from "../program.ts";
import { attentionParameters, attentionTiles, quadReader, quadWriter } from "./attention-tiles.ts";

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

/** dq: a workgroup takes 32 queries of one head through the keys they saw. Tile rows are queries, columns keys. */
export function attentionBackwardQuery(headDim: number) {
  return {
    name: `attention backward, query, ${headDim}`,
    operands: {
      dq: ["write", "f32"],
      d_out: ["read", "f32"],
      q: ["read", "f32"],
      k: ["read", "f32"],
      v: ["read", "f32"],
      log_sum_exp: ["read", "f32"],
      delta: ["read", "f32"],
    },
    parameters: attentionParameters,
    declarations: /* wgsl */ `
      ${attentionTiles(headDim)}
      ${["q", "k", "v", "d_out"].map(quadReader).join("\n")}
      ${quadWriter("dq")}`,
    body: /* wgsl */ `
      let row = lane / 8u;
      let quad = lane % 8u;
      let blocks = (given.queries + 31u) / 32u;
      let block_first = group % blocks * 32u;
      let head = group / blocks % given.heads;
      let sequence = group / blocks / given.heads;
      let key_value_head = head / (given.heads / given.key_value_heads);
      let past = given.keys - given.queries;
      let block_visible = past + min(block_first + 32u, given.queries);

      let query = block_first + row;
      let query_inside = query < given.queries;
      let query_from = query_start(sequence, query, head);
      let visible = past + query + 1u;
      let query_row = (sequence * given.heads + head) * given.queries + min(query, given.queries - 1u);
      let row_log_sum_exp = log_sum_exp[query_row];
      let row_delta = delta[query_row];
      var sums: array<vec4f, chunks>;
      for (var key_first = 0u; key_first < block_visible; key_first += 32u) {
        let key = key_first + row;
        let key_inside = key < given.keys;
        let key_from = key_start(sequence, key, key_value_head);
        var scores = vec4f();
        var d_weights = vec4f();
        for (var chunk = 0u; chunk < chunks; chunk++) {
          let channel = chunk * 32u + quad * 4u;
          left[row * 9u + quad] = q_quad(query_from, channel, query_inside);
          right[row * 9u + quad] = k_quad(key_from, channel, key_inside);
          workgroupBarrier();
          scores += dot_products(row, quad);
          workgroupBarrier();
          left[row * 9u + quad] = d_out_quad(query_from, channel, query_inside);
          right[row * 9u + quad] = v_quad(key_from, channel, key_inside);
          workgroupBarrier();
          d_weights += dot_products(row, quad);
          workgroupBarrier();
        }
        let seen = key_first + quad + vec4u(0u, 8u, 16u, 24u) < vec4u(visible);
        let weights = select(vec4f(), exp(given.scale * scores - row_log_sum_exp), seen);
        factors[row * 9u + quad] = given.scale * weights * (d_weights - row_delta);
        for (var chunk = 0u; chunk < chunks; chunk++) {
          right[row * 9u + quad] = k_quad(key_from, chunk * 32u + quad * 4u, key_inside);
          workgroupBarrier();
          sums[chunk] += weighted_sum(row, quad);
          workgroupBarrier();
        }
      }
      if (query_inside) {
        for (var chunk = 0u; chunk < chunks; chunk++) {
          store_dq(query_from, chunk * 32u + quad * 4u, sums[chunk]);
        }
      }`,
  } as const satisfies Program;
}

/**
 * dk and dv: a workgroup takes 32 keys of one key-value head through the queries, of all heads that share it, that saw
 * them. Tile rows are keys, columns queries: all scores and weights are transposed.
 */
export function attentionBackwardKeyValue(headDim: number) {
  return {
    name: `attention backward, key and value, ${headDim}`,
    operands: {
      dk: ["write", "f32"],
      dv: ["write", "f32"],
      d_out: ["read", "f32"],
      q: ["read", "f32"],
      k: ["read", "f32"],
      v: ["read", "f32"],
      log_sum_exp: ["read", "f32"],
      delta: ["read", "f32"],
    },
    parameters: attentionParameters,
    declarations: /* wgsl */ `
      ${attentionTiles(headDim)}
      ${["q", "k", "v", "d_out"].map(quadReader).join("\n")}
      ${["dk", "dv"].map(quadWriter).join("\n")}

      /// log_sum_exp and delta of the four queries of a quad; of the last query where there are fewer.
      fn query_rows(head_row: u32, queries: vec4u) -> vec4u {
        return head_row + min(queries, vec4u(given.queries - 1u));
      }
      fn log_sum_exps(rows: vec4u) -> vec4f {
        return vec4f(log_sum_exp[rows.x], log_sum_exp[rows.y], log_sum_exp[rows.z], log_sum_exp[rows.w]);
      }
      fn deltas(rows: vec4u) -> vec4f {
        return vec4f(delta[rows.x], delta[rows.y], delta[rows.z], delta[rows.w]);
      }`,
    body: /* wgsl */ `
      let row = lane / 8u;
      let quad = lane % 8u;
      let blocks = (given.keys + 31u) / 32u;
      let block_first = group % blocks * 32u;
      let key_value_head = group / blocks % given.key_value_heads;
      let sequence = group / blocks / given.key_value_heads;
      let heads_per_group = given.heads / given.key_value_heads;
      let past = given.keys - given.queries;
      let first_seeing_query = select(0u, block_first - past, block_first > past);

      let key = block_first + row;
      let key_inside = key < given.keys;
      let key_from = key_start(sequence, key, key_value_head);
      var dk_sums: array<vec4f, chunks>;
      var dv_sums: array<vec4f, chunks>;
      for (var member = 0u; member < heads_per_group; member++) {
        let head = key_value_head * heads_per_group + member;
        for (var query_first = first_seeing_query / 32u * 32u; query_first < given.queries; query_first += 32u) {
          let query = query_first + row;
          let query_inside = query < given.queries;
          let query_from = query_start(sequence, query, head);
          var scores = vec4f();
          var d_weights = vec4f();
          for (var chunk = 0u; chunk < chunks; chunk++) {
            let channel = chunk * 32u + quad * 4u;
            left[row * 9u + quad] = k_quad(key_from, channel, key_inside);
            right[row * 9u + quad] = q_quad(query_from, channel, query_inside);
            workgroupBarrier();
            scores += dot_products(row, quad);
            workgroupBarrier();
            left[row * 9u + quad] = v_quad(key_from, channel, key_inside);
            right[row * 9u + quad] = d_out_quad(query_from, channel, query_inside);
            workgroupBarrier();
            d_weights += dot_products(row, quad);
            workgroupBarrier();
          }
          let queries = query_first + quad + vec4u(0u, 8u, 16u, 24u);
          let seen = (vec4u(key) <= past + queries) & (queries < vec4u(given.queries));
          let rows = query_rows((sequence * given.heads + head) * given.queries, queries);
          let weights = select(vec4f(), exp(given.scale * scores - log_sum_exps(rows)), seen);
          factors[row * 9u + quad] = weights;
          for (var chunk = 0u; chunk < chunks; chunk++) {
            right[row * 9u + quad] = d_out_quad(query_from, chunk * 32u + quad * 4u, query_inside);
            workgroupBarrier();
            dv_sums[chunk] += weighted_sum(row, quad);
            workgroupBarrier();
          }
          factors[row * 9u + quad] = given.scale * weights * (d_weights - deltas(rows));
          for (var chunk = 0u; chunk < chunks; chunk++) {
            right[row * 9u + quad] = q_quad(query_from, chunk * 32u + quad * 4u, query_inside);
            workgroupBarrier();
            dk_sums[chunk] += weighted_sum(row, quad);
            workgroupBarrier();
          }
        }
      }
      if (key_inside) {
        for (var chunk = 0u; chunk < chunks; chunk++) {
          let channel = chunk * 32u + quad * 4u;
          store_dk(key_from, channel, dk_sums[chunk]);
          store_dv(key_from, channel, dv_sums[chunk]);
        }
      }`,
  } as const satisfies Program;
}
