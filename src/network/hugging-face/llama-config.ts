/** A model's numbers under the names of `transformers`' LlamaConfig, there and back. */
import { z } from "zod";
import { FailureError } from "../../protocol/failure.ts";
import { type ModelConfig, modelConfigSchema } from "../../protocol/run-config.ts";

/** What `config.json` of an exported model holds. `endOfDocument`: the token between documents. */
export function toLlamaConfig(model: ModelConfig, endOfDocument: number, type: "f32" | "bf16") {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: model.vocabulary,
    hidden_size: model.width,
    intermediate_size: model.feedForward,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.keyValueHeads,
    head_dim: model.width / model.heads,
    hidden_act: "silu",
    max_position_embeddings: model.context,
    rope_theta: model.rotaryBase,
    rms_norm_eps: model.normEpsilon,
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: false,
    bos_token_id: endOfDocument,
    eos_token_id: endOfDocument,
    torch_dtype: type === "bf16" ? "bfloat16" : "float32",
  };
}

/** Later versions keep the base, and any scaling, in here. */
const rotarySchema = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().optional(),
});

/** With the defaults of `transformers` for what may be left out. */
const llamaConfigSchema = z.looseObject({
  model_type: z.string(),
  vocab_size: z.number(),
  hidden_size: z.number(),
  intermediate_size: z.number(),
  num_hidden_layers: z.number(),
  num_attention_heads: z.number(),
  num_key_value_heads: z.number().nullish(),
  head_dim: z.number().nullish(),
  hidden_act: z.string().default("silu"),
  max_position_embeddings: z.number().default(2048),
  rope_theta: z.number().nullish(),
  rope_parameters: rotarySchema.nullish(),
  rope_scaling: rotarySchema.nullish(),
  rms_norm_eps: z.number().default(1e-6),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
  quantization_config: z.unknown().optional(),
});
type LlamaConfig = z.infer<typeof llamaConfigSchema>;

export interface ImportedConfig {
  readonly model: ModelConfig;
  /** The file has no output head: the embedding serves as it, too. */
  readonly tiedHead: boolean;
}

/** Throws `FailureError` (invalid-config) that says what the model has and this program has not. */
export function fromLlamaConfig(json: unknown): ImportedConfig {
  const parsed = llamaConfigSchema.safeParse(json);
  if (!parsed.success) throw refused(`config.json is not that of a Llama model: ${firstIssue(parsed.error)}`);
  const config = parsed.data;
  const foreign = foreignPart(config);
  if (foreign !== undefined) throw refused(`The model has ${foreign}, which this program does not train.`);
  const model = modelConfigSchema.safeParse({
    vocabulary: config.vocab_size,
    width: config.hidden_size,
    layers: config.num_hidden_layers,
    heads: config.num_attention_heads,
    keyValueHeads: config.num_key_value_heads ?? config.num_attention_heads,
    feedForward: config.intermediate_size,
    context: config.max_position_embeddings,
    rotaryBase: config.rope_parameters?.rope_theta ?? config.rope_theta ?? 10_000,
    normEpsilon: config.rms_norm_eps,
  });
  if (!model.success) throw refused(`config.json describes no model: ${firstIssue(model.error)}`);
  return { model: model.data, tiedHead: config.tie_word_embeddings };
}

function foreignPart(config: LlamaConfig): string | undefined {
  const { rope_parameters: rotary, rope_scaling: scaling } = config;
  const rotaryType = scaling?.rope_type ?? scaling?.type ?? rotary?.rope_type ?? "default";
  if (config.model_type !== "llama") return `the architecture ${config.model_type}`;
  if (config.hidden_act !== "silu") return `the activation ${config.hidden_act}`;
  if (config.attention_bias) return "biases in its attention";
  if (config.mlp_bias) return "biases in its feed-forward layers";
  if (rotaryType !== "default") return `scaled rotary positions (${rotaryType})`;
  if (config.quantization_config != null) return "quantized weights";
  const headDim = config.hidden_size / config.num_attention_heads;
  if (config.head_dim != null && config.head_dim !== headDim)
    return `heads of ${config.head_dim} channels where its width has ${headDim} for each`;
  return undefined;
}

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  return [...(issue?.path ?? []), issue?.message].join(": ");
}

function refused(message: string): FailureError {
  return new FailureError("invalid-config", message, {
    action: "Import a Llama model without scaled rotary positions, biases or quantization.",
  });
}
