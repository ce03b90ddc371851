import { elementwise } from "../program.ts";

/** out[row, :] = table[tokens[row], :]. */
export const embeddingForward = elementwise({
  name: "embedding forward",
  operands: { out: ["write", "f32"], table: ["read", "f32"], tokens: ["read", "i32"] },
  parameters: { width: "u32" },
  body: /* wgsl */ `
    let token = u32(tokens[i / given.width]);
    out[i] = table[token * given.width + i % given.width];`,
});

/**
 * d_table[token, :] += Σ d_out[row, :] over the rows with that token, in order. One invocation per channel of a distinct
 * token: `order` lists the rows sorted by token, and those of the d-th distinct token are order[starts[d] … starts[d + 1]).
 */
export const embeddingBackward = elementwise({
  name: "embedding backward",
  operands: {
    d_table: ["write", "f32"],
    d_out: ["read", "f32"],
    tokens: ["read", "i32"],
    order: ["read", "i32"],
    starts: ["read", "i32"],
  },
  parameters: { width: "u32" },
  body: /* wgsl */ `
    let distinct = i / given.width;
    let channel = i % given.width;
    let first = u32(starts[distinct]);
    let end = u32(starts[distinct + 1u]);
    let to = u32(tokens[u32(order[first])]) * given.width + channel;
    var sum = d_table[to];
    for (var next = first; next < end; next++) {
      sum += d_out[u32(order[next]) * given.width + channel];
    }
    d_table[to] = sum;`,
});
