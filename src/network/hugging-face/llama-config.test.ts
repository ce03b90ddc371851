import { describe, expect, it } from "vitest";
import { presets } from "../../compute/model/presets.ts";
import { failureOf } from "../../protocol/failure.ts";
import { fromLlamaConfig, toLlamaConfig } from "./llama-config.ts";

const config = toLlamaConfig(presets["100m"].model, 50_256, "f32");
const refusal = (json: unknown) => {
  try {
    fromLlamaConfig(json);
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
};

describe("a Llama model's configuration", () => {
  it.each(Object.entries(presets))("of the preset %s comes back as it was", (_name, { model }) => {
    expect(fromLlamaConfig(toLlamaConfig(model, 0, "bf16"))).toEqual({ model, tiedHead: false });
  });

  it("has the defaults of transformers for what is left out", () => {
    const { num_key_value_heads: _, head_dim: __, rope_theta: ___, rms_norm_eps: ____, ...rest } = config;
    const { max_position_embeddings: _____, tie_word_embeddings: ______, ...sparse } = rest;
    const { model } = presets["100m"];
    expect(fromLlamaConfig({ ...sparse, surplus: 1, rope_scaling: null })).toEqual({
      model: { ...model, keyValueHeads: model.heads, rotaryBase: 10_000, normEpsilon: 1e-6, context: 2048 },
      tiedHead: false,
    });
  });

  it("is read as later versions of transformers write it", () => {
    const { rope_theta: base, ...rest } = config;
    const later = { ...rest, rope_parameters: { rope_type: "default", rope_theta: base } };
    expect(fromLlamaConfig(later)).toEqual(fromLlamaConfig(config));
  });

  it.each([
    ["another architecture", { model_type: "mistral" }, "architecture mistral"],
    ["another activation", { hidden_act: "gelu" }, "activation gelu"],
    ["biases in attention", { attention_bias: true }, "biases in its attention"],
    ["biases in the feed-forward layers", { mlp_bias: true }, "biases in its feed-forward"],
    ["scaled positions", { rope_scaling: { rope_type: "llama3", factor: 8 } }, "scaled rotary positions (llama3)"],
    ["scaled positions as older versions wrote them", { rope_scaling: { type: "linear", factor: 2 } }, "(linear)"],
    ["scaled positions as later versions write them", { rope_parameters: { rope_type: "yarn" } }, "(yarn)"],
    ["quantized weights", { quantization_config: { bits: 4 } }, "quantized"],
    ["heads of another size", { head_dim: 128 }, "heads of 128 channels"],
    ["heads that share no whole number of keys", { num_key_value_heads: 4 }, "multiple of keyValueHeads"],
    ["a width of nothing", { hidden_size: 0, head_dim: null }, "width"],
    ["no number of layers", { num_hidden_layers: undefined }, "num_hidden_layers"],
    ["more layers than anybody has", { num_hidden_layers: 1e9 }, "layers"],
  ])("with %s is refused, and says why", (_what, part, why) => {
    const failure = refusal({ ...config, ...part });
    expect(failure).toMatchObject({ code: "invalid-config", message: expect.stringContaining(why) });
    expect(failure?.action).toContain("Import a Llama model");
  });

  it("that is no configuration at all is refused", () => {
    for (const json of [null, [], "llama", 7]) expect(refusal(json)?.code).toBe("invalid-config");
  });
});
