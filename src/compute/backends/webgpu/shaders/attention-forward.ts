import type { Program } from "../program.ts";
import { attentionParameters, attentionTiles, quadReader, quadWriter } from "./attention-tiles.ts";

/**
 * Dao 2022, alg. 1: a workgroup takes 32 queries of one head through the keys they may see, 32 at a time, and keeps for
 * every query the highest score so far, the sum of the weights, and the weighted sum of the values. The eight lanes of a
 * row all keep the first two. Shapes as in the contract.
 */
export function attentionForward(headDim: number) {
  return {
    name: `attention forward, ${headDim}`,
    operands: {
      out: ["write", "f32"],
      log_sum_exp: ["write", "f32"],
      q: ["read", "f32"],
      k: ["read", "f32"],
      v: ["read", "f32"],
    },
    parameters: attentionParameters,
    declarations: /* wgsl */ `
      ${attentionTiles(headDim)}
      ${quadReader("q")}
      ${quadReader("k")}
      ${quadReader("v")}
      ${quadWriter("out")}
      var<workgroup> lane_highest: array<f32, 256>;
      var<workgroup> lane_total: array<f32, 256>;`,
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
      var highest = lowest;
      var total = 0.0;
      var mixed: array<vec4f, chunks>;
      for (var key_first = 0u; key_first < block_visible; key_first += 32u) {
        let key = key_first + row;
        let key_inside = key < given.keys;
        let key_from = key_start(sequence, key, key_value_head);
        var scores = vec4f();
        for (var chunk = 0u; chunk < chunks; chunk++) {
          let channel = chunk * 32u + quad * 4u;
          left[row * 9u + quad] = q_quad(query_from, channel, query_inside);
          right[row * 9u + quad] = k_quad(key_from, channel, key_inside);
          workgroupBarrier();
          scores += dot_products(row, quad);
          workgroupBarrier();
        }
        let seen = key_first + quad + vec4u(0u, 8u, 16u, 24u) < vec4u(visible);
        scores = select(vec4f(lowest), given.scale * scores, seen);
        lane_highest[lane] = max(max(scores.x, scores.y), max(scores.z, scores.w));
        workgroupBarrier();
        let before = highest;
        for (var other = 0u; other < 8u; other++) { highest = max(highest, lane_highest[row * 8u + other]); }
        let weights = select(vec4f(), exp(scores - highest), seen);
        factors[row * 9u + quad] = weights;
        lane_total[lane] = dot(weights, vec4f(1.0));
        let kept = exp(before - highest);
        total *= kept;
        for (var chunk = 0u; chunk < chunks; chunk++) {
          right[row * 9u + quad] = v_quad(key_from, chunk * 32u + quad * 4u, key_inside);
          workgroupBarrier();
          mixed[chunk] = kept * mixed[chunk] + weighted_sum(row, quad);
          workgroupBarrier();
        }
        for (var other = 0u; other < 8u; other++) { total += lane_total[row * 8u + other]; }
      }
      if (query_inside) {
        for (var chunk = 0u; chunk < chunks; chunk++) {
          store_out(query_from, chunk * 32u + quad * 4u, mixed[chunk] / total);
        }
        if (quad == 0u) {
          log_sum_exp[(sequence * given.heads + head) * given.queries + query] = highest + log(total);
        }
      }`,
  } as const satisfies Program;
}
