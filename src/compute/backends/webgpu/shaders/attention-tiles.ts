/**
 * What the attention programs share: products of 32 × 32 tiles by workgroups of 64 lanes. Lane t owns four rows by four
 * columns of the product, row quad t / 8 and column quad t % 8, as a matrix m with m[row][column]. A factor lies in
 * workgroup memory by depth: left[depth][quad of rows], right[depth][quad of columns], with a ninth quad per depth to
 * spread them over the memory's banks. Heads are walked through 32 channels, a chunk, at a time.
 */
import { type FactorPrecision, type Factors, factors } from "./factors.ts";

/** Queries, and keys, per tile. */
export const attentionTile = 32;

/** Chunks that a head has. */
export function chunksOf(headDim: number): number {
  return Math.ceil(headDim / attentionTile);
}

export const attentionLanes = 64;
export const attentionParameters = {
  queries: "u32",
  keys: "u32",
  heads: "u32",
  key_value_heads: "u32",
  head_dim: "u32",
  scale: "f32",
} as const;

/** What attention multiplies: operands, softmax weights, and the gradients of scores. */
type AttentionFactor = "q" | "k" | "v" | "d_out" | "weights" | "d_scores";

/**
 * Of the forward pass, or of the backward pass. Weights are at most 1, and gradients of scores no larger than the operands
 * that they come from allow: |ds| ≤ scale · p · 2 · headDim · |d_out| · |v|, and scale = headDim^(−1/2).
 */
export function attentionFactors(precision: FactorPrecision, pass: "forward" | "backward"): Factors<AttentionFactor> {
  const operands = ["q", "k", "v", "d_out"] as const;
  const found = factors<AttentionFactor>(precision, pass === "forward" ? operands.slice(0, 3) : operands);
  if (precision === "f32") return found;
  const bounded = [
    "const weights_factor = 16384.0;",
    ...(pass === "forward" ? [] : ["let d_scores_factor = exp2(-16.0) * given.scale * v_factor * d_out_factor;"]),
  ];
  return { ...found, find: [found.find, ...bounded].join("\n") };
}

/** `queries`: operands with rows by query; `keys`: with rows by key; `written`: those of them that are results. */
export function attentionTiles(
  { quad, declarations }: Factors<AttentionFactor>,
  chunks: number,
  operands: {
    readonly queries: readonly string[];
    readonly keys: readonly string[];
    readonly written: readonly string[];
  },
): string {
  const { queries, keys, written } = operands;
  const accessor = (operand: string) => (written.includes(operand) ? writer : reader);
  return /* wgsl */ `
    const chunks = ${chunks}u;
    const lowest = -3.4e38;
    var<workgroup> left: array<${quad}, 32 * 9>;
    var<workgroup> right: array<${quad}, 32 * 9>;
    ${declarations}

    fn product(row_quad: u32, column_quad: u32) -> mat4x4f {
      var sums = mat4x4f();
      for (var depth = 0u; depth < 32u; depth++) {
        let rows = vec4f(left[depth * 9u + row_quad]);
        let columns = vec4f(right[depth * 9u + column_quad]);
        sums += mat4x4f(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
      }
      return sums;
    }

    /// Makes a product the left factor of the next one, with its columns as depth.
    fn keep_as_left(row_quad: u32, column_quad: u32, values: mat4x4f) {
      let columns = transpose(values);
      for (var c = 0u; c < 4u; c++) { left[(4u * column_quad + c) * 9u + row_quad] = ${quad}(columns[c]); }
    }

    /// Where the vectors of one head, or of the key-value head that it shares, start in its sequence.
    fn query_base(sequence: u32, head: u32) -> u32 {
      return (sequence * given.queries * given.heads + head) * given.head_dim;
    }
    fn key_base(sequence: u32, key_value_head: u32) -> u32 {
      return (sequence * given.keys * given.key_value_heads + key_value_head) * given.head_dim;
    }
    ${queries.map((operand) => accessor(operand)(operand, "given.queries", "given.heads")).join("\n")}
    ${keys.map((operand) => accessor(operand)(operand, "given.keys", "given.key_value_heads")).join("\n")}`;
}

/** `<operand>_at(base, row, channel)`: one element, zero outside of the head's vectors. */
function reader(operand: string, rows: string, heads: string): string {
  return /* wgsl */ `
    fn ${operand}_at(base: u32, row: u32, channel: u32) -> f32 {
      if (row >= ${rows} || channel >= given.head_dim) { return 0.0; }
      return ${operand}[base + row * ${heads} * given.head_dim + channel];
    }`;
}

/** `store_<operand>(base, first row, first channel, values)`: a lane's four rows by four channels. */
function writer(operand: string, rows: string, heads: string): string {
  return /* wgsl */ `
    fn store_${operand}(base: u32, first_row: u32, first_channel: u32, values: mat4x4f) {
      for (var r = 0u; r < 4u; r++) {
        for (var c = 0u; c < 4u; c++) {
          if (first_row + r < ${rows} && first_channel + c < given.head_dim) {
            ${operand}[base + (first_row + r) * ${heads} * given.head_dim + first_channel + c] = values[r][c];
          }
        }
      }
    }`;
}

/** Statements that bring 32 rows of one chunk of an operand into workgroup memory. */
export function tileLoads({ rounded }: Factors<AttentionFactor>) {
  type Operand = "q" | "k" | "v" | "d_out";
  const load = (tile: string, operand: Operand, place: string, at: (offset: number) => string) => /* wgsl */ `
    for (var place = lane; place < 256u; place += 64u) {
      ${place}
      ${tile}[depth * 9u + quad] = ${rounded(operand, `vec4f(${[0, 1, 2, 3].map(at).join(", ")})`)};
    }`;
  return {
    /** With the channels as depth, to be multiplied with others channel by channel. */
    byChannel: (tile: "left" | "right", operand: Operand, base: string, firstRow: string) =>
      load(
        tile,
        operand,
        "let depth = place % 32u; let quad = place / 32u;",
        (row) => `${operand}_at(${base}, ${firstRow} + 4u * quad + ${row}u, chunk * 32u + depth)`,
      ),
    /** Into `right`, with the rows as depth, to be summed up with weights. */
    byRow: (operand: Operand, base: string, firstRow: string) =>
      load(
        "right",
        operand,
        "let depth = place / 8u; let quad = place % 8u;",
        (c) => `${operand}_at(${base}, ${firstRow} + depth, chunk * 32u + 4u * quad + ${c}u)`,
      ),
  };
}

/** Which block of queries a workgroup takes, and of which head. */
export const queryBlock = /* wgsl */ `
  let row_quad = lane / 8u;
  let column_quad = lane % 8u;
  let blocks = (given.queries + 31u) / 32u;
  let block_first = group % blocks * 32u;
  let head = group / blocks % given.heads;
  let sequence = group / blocks / given.heads;
  let queries_base = query_base(sequence, head);
  let keys_base = key_base(sequence, head / (given.heads / given.key_value_heads));
  let past = given.keys - given.queries;
  let block_visible = past + min(block_first + 32u, given.queries);
  // This lane's queries, and where they lie in [sequence, head, query].
  let queries = block_first + 4u * row_quad + vec4u(0u, 1u, 2u, 3u);
  let query_rows = (sequence * given.heads + head) * given.queries + min(queries, vec4u(given.queries - 1u));`;
