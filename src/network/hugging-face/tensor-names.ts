/**
 * Where `transformers`' LlamaForCausalLM keeps what our layout calls otherwise. Only names differ: both keep matrices as
 * [outputs, inputs], and both turn channel c of a head together with channel c + headDim / 2.
 */

const names: Readonly<Record<string, string>> = {
  embedding: "model.embed_tokens",
  "attention.norm": "input_layernorm",
  "attention.query": "self_attn.q_proj",
  "attention.key": "self_attn.k_proj",
  "attention.value": "self_attn.v_proj",
  "attention.output": "self_attn.o_proj",
  "feedForward.norm": "post_attention_layernorm",
  "feedForward.gate": "mlp.gate_proj",
  "feedForward.up": "mlp.up_proj",
  "feedForward.down": "mlp.down_proj",
  norm: "model.norm",
  head: "lm_head",
};

/** `layers.3.attention.query` → `model.layers.3.self_attn.q_proj.weight` */
export function huggingFaceName(name: string): string {
  const [, layer, part = name] = /^layers\.(\d+)\.(.+)$/.exec(name) ?? [];
  const module = names[part];
  if (module === undefined) throw new Error(`the layout's tensor ${name} has no name in transformers`);
  return `${layer === undefined ? "" : `model.layers.${layer}.`}${module}.weight`;
}
