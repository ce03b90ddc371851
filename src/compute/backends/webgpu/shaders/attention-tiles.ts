/**
 * What the attention programs share: products of 32 × 32 tiles. A tile has 256 quads, one per lane; lane t owns row t / 8
 * and quad t % 8. Where a tile's columns are channels, a quad is four neighbours; where they are keys or queries, quad q
 * stands for columns q, q + 8, q + 16 and q + 24, so that neighbouring lanes read neighbouring rows of `right`. Heads are
 * walked through 32 channels at a time. A ninth quad per row spreads the rows over the memory's banks.
 */

/** Queries, and keys, per tile. */
export const attentionTile = 32;

/** Chunks of 32 channels that a head has. */
export function chunksOf(headDim: number): number {
  return Math.ceil(headDim / attentionTile);
}

export const attentionParameters = {
  queries: "u32",
  keys: "u32",
  heads: "u32",
  key_value_heads: "u32",
  scale: "f32",
} as const;

export function attentionTiles(headDim: number): string {
  return /* wgsl */ `
    const head_dim = ${headDim}u;
    const chunks = ${chunksOf(headDim)}u;
    const lowest = -3.4e38;
    var<workgroup> left: array<vec4f, 32 * 9>;
    var<workgroup> right: array<vec4f, 32 * 9>;
    var<workgroup> factors: array<vec4f, 32 * 9>;

    /// left[row] · right[column] over one chunk, for the four columns of a quad.
    fn dot_products(row: u32, quad: u32) -> vec4f {
      var sums = vec4f();
      for (var c = 0u; c < 8u; c++) {
        let l = left[row * 9u + c];
        sums += vec4f(
          dot(l, right[quad * 9u + c]),
          dot(l, right[(quad + 8u) * 9u + c]),
          dot(l, right[(quad + 16u) * 9u + c]),
          dot(l, right[(quad + 24u) * 9u + c]));
      }
      return sums;
    }

    /// Σ over the 32 columns j of factors[row][j] · right[j], for four channels.
    fn weighted_sum(row: u32, quad: u32) -> vec4f {
      var sums = vec4f();
      for (var j = 0u; j < 8u; j++) {
        let f = factors[row * 9u + j];
        sums += f.x * right[j * 9u + quad] + f.y * right[(j + 8u) * 9u + quad]
          + f.z * right[(j + 16u) * 9u + quad] + f.w * right[(j + 24u) * 9u + quad];
      }
      return sums;
    }

    /// Where the head vector of a query, or of a key, starts.
    fn query_start(sequence: u32, query: u32, head: u32) -> u32 {
      return ((sequence * given.queries + query) * given.heads + head) * head_dim;
    }
    fn key_start(sequence: u32, key: u32, key_value_head: u32) -> u32 {
      return ((sequence * given.keys + key) * given.key_value_heads + key_value_head) * head_dim;
    }`;
}

/** `<operand>_quad(start, channel, inside)`: four channels of the vector at `start`; zeros past its end, or if not inside. */
export function quadReader(operand: string): string {
  return /* wgsl */ `
    fn ${operand}_quad(start: u32, channel: u32, inside: bool) -> vec4f {
      var quad = vec4f();
      if (inside) {
        for (var c = 0u; c < 4u; c++) {
          if (channel + c < head_dim) { quad[c] = ${operand}[start + channel + c]; }
        }
      }
      return quad;
    }`;
}

/** `store_<operand>(start, channel, quad)`: the reverse. */
export function quadWriter(operand: string): string {
  return /* wgsl */ `
    fn store_${operand}(start: u32, channel: u32, quad: vec4f) {
      for (var c = 0u; c < 4u; c++) {
        if (channel + c < head_dim) { ${operand}[start + channel + c] = quad[c]; }
      }
    }`;
}
