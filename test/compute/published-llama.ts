/**
 * A Llama model as `transformers` computes it (modeling_llama.py), written down once more in plain TypeScript, one token
 * after the other: it reads the exported files by itself, and knows nothing of our layout, kernels or file code.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

interface PublishedConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly rope_theta: number;
  readonly rms_norm_eps: number;
}

type Vector = readonly number[];
type Matrix = readonly Vector[];

export class PublishedLlama {
  readonly #config: PublishedConfig;
  readonly #tensors: ReadonlyMap<string, Matrix>;

  constructor(folder: string) {
    this.#config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    this.#tensors = readTensors(readFileSync(join(folder, "model.safetensors")));
  }

  /** Σ over the tokens of the loss of the token that follows, in nats. */
  lossSum(tokens: ArrayLike<number>, targets: ArrayLike<number>): number {
    const logits = this.logits(tokens);
    return logits.reduce((total, row, position) => {
      const highest = Math.max(...row);
      const logSum = highest + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - highest), 0));
      return total + logSum - (row[targets[position] ?? -1] ?? Number.NaN);
    }, 0);
  }

  logits(tokens: ArrayLike<number>): Matrix {
    const embedding = this.#matrix("model.embed_tokens");
    let hidden: Matrix = Array.from(tokens, (token) => embedding[token] ?? []);
    for (let layer = 0; layer < this.#config.num_hidden_layers; layer++) hidden = this.#block(layer, hidden);
    return this.#linear("lm_head", this.#norm("model.norm", hidden));
  }

  #block(layer: number, input: Matrix): Matrix {
    const name = (part: string) => `model.layers.${layer}.${part}`;
    const normed = this.#norm(name("input_layernorm"), input);
    const project = (part: string) => this.#linear(name(`self_attn.${part}_proj`), normed);
    const mixed = this.#attention(project("q"), project("k"), project("v"));
    const middle = sum(input, this.#linear(name("self_attn.o_proj"), mixed));
    const narrow = this.#norm(name("post_attention_layernorm"), middle);
    const gate = this.#linear(name("mlp.gate_proj"), narrow);
    const up = this.#linear(name("mlp.up_proj"), narrow);
    const activated = gate.map((row, t) => row.map((x, c) => (x / (1 + Math.exp(-x))) * (up[t]?.[c] ?? Number.NaN)));
    return sum(middle, this.#linear(name("mlp.down_proj"), activated));
  }

  #attention(query: Matrix, key: Matrix, value: Matrix): Matrix {
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, head_dim: size } = this.#config;
    const headOf = (row: Vector, head: number) => row.slice(head * size, (head + 1) * size);
    return query.map((queries, position) =>
      Array.from({ length: heads }, (_, head) => {
        const shared = Math.floor(head / (heads / keyValueHeads));
        const turned = this.#turn(headOf(queries, head), position);
        const scores = key
          .slice(0, position + 1)
          .map((keys, other) => dot(turned, this.#turn(headOf(keys, shared), other)) / Math.sqrt(size));
        const highest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - highest));
        const total = weights.reduce((a, b) => a + b);
        return Array.from({ length: size }, (_, channel) =>
          weights.reduce(
            (mix, weight, other) => mix + (weight / total) * (value[other]?.[shared * size + channel] ?? 0),
            0,
          ),
        );
      }).flat(),
    );
  }

  /** `apply_rotary_pos_emb`: x · cos + rotate_half(x) · sin. */
  #turn(head: Vector, position: number): Vector {
    const half = head.length / 2;
    const rotated = [...head.slice(half).map((x) => -x), ...head.slice(0, half)];
    return head.map((x, channel) => {
      const angle = position / this.#config.rope_theta ** ((2 * (channel % half)) / head.length);
      return x * Math.cos(angle) + (rotated[channel] ?? Number.NaN) * Math.sin(angle);
    });
  }

  #norm(name: string, rows: Matrix): Matrix {
    const [gain = []] = this.#matrix(name);
    return rows.map((row) => {
      const scale = 1 / Math.sqrt(dot(row, row) / row.length + this.#config.rms_norm_eps);
      return row.map((x, channel) => x * scale * (gain[channel] ?? Number.NaN));
    });
  }

  #linear(name: string, rows: Matrix): Matrix {
    const weight = this.#matrix(name);
    return rows.map((row) => weight.map((weights) => dot(row, weights)));
  }

  #matrix(module: string): Matrix {
    const matrix = this.#tensors.get(`${module}.weight`);
    if (matrix === undefined) throw new Error(`${module} has no weights`);
    return matrix;
  }
}

/** Vectors are matrices of one row. */
function readTensors(file: Buffer): ReadonlyMap<string, Matrix> {
  const headerEnd = 8 + Number(file.readBigUInt64LE());
  const { __metadata__: _metadata, ...header } = JSON.parse(file.subarray(8, headerEnd).toString()) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header).map(
      ([
        name,
        {
          shape,
          data_offsets: [begin, end],
        },
      ]) => {
        const values = Array.from({ length: (end - begin) / 4 }, (_, i) => file.readFloatLE(headerEnd + begin + 4 * i));
        const columns = shape.at(-1) ?? 1;
        const rows = Array.from({ length: values.length / columns }, (_, row) =>
          values.slice(row * columns, (row + 1) * columns),
        );
        return [name, rows];
      },
    ),
  );
}

function dot(a: Vector, b: Vector): number {
  return a.reduce((total, value, index) => total + value * (b[index] ?? Number.NaN), 0);
}

function sum(a: Matrix, b: Matrix): Matrix {
  return a.map((row, t) => row.map((value, channel) => value + (b[t]?.[channel] ?? Number.NaN)));
}
