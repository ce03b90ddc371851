import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { smallModel } from "../../../test/compute/small-model.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { wholeModel } from "../../compute/model/stages.ts";
import { fillNormal, streamKey } from "../../compute/random.ts";
import { failureOf } from "../../protocol/failure.ts";
import { readStage } from "../checkpoints/stored-model.ts";
import { toBrainFloat, type WeightType } from "./elements.ts";
import { toLlamaConfig } from "./llama-config.ts";
import { openModelFolder } from "./open-model.ts";
import { encodeHeader, type TensorShape } from "./safetensors.ts";
import { huggingFaceName } from "./tensor-names.ts";

interface FileTensor extends TensorShape {
  readonly values: Float32Array<ArrayBuffer>;
}

const layout = stageLayout(smallModel, wholeModel(smallModel));
const tensors: readonly FileTensor[] = layout.tensors.map(({ name, shape, length }) => {
  const values = new Float32Array(length);
  fillNormal(values, streamKey(1, name), 0.3);
  return { name: huggingFaceName(name), type: "F32", shape, values };
});
const config = toLlamaConfig(smallModel, 0, "f32");

function bytesAs({ values }: FileTensor, type: TensorShape["type"]): Uint8Array {
  if (type === "BF16") return new Uint8Array(toBrainFloat(values).buffer);
  return new Uint8Array(type === "F16" ? new Float16Array(values).buffer : values.buffer);
}

function fileOf(parts: readonly FileTensor[]): Buffer {
  return Buffer.concat([encodeHeader(parts), ...parts.map((part) => bytesAs(part, part.type))]);
}

const stored = (type: WeightType) => tensors.map((tensor) => ({ ...tensor, type }));
const without = (name: string) => tensors.filter((tensor) => tensor.name !== name);

describe("a folder of transformers", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "model-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const write = async (parts: readonly FileTensor[], part: object = {}) => {
    await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, ...part }));
    await writeFile(join(folder, "model.safetensors"), fileOf(parts));
  };
  const weights = async () => {
    const model = await openModelFolder(folder, "bytes");
    const vector = await readStage(model, wholeModel(model.model));
    await model.close();
    return vector;
  };
  const refusal = () =>
    openModelFolder(folder, "bytes").then(
      async (model) => void (await model.close()),
      (error: unknown) => failureOf(error),
    );

  it.each([
    ["F32", 0],
    ["BF16", 2 ** -8],
    ["F16", 2 ** -10],
  ] as const)("is read with weights in %s", async (type, tolerance) => {
    await write(stored(type));
    const read = await weights();
    expect(read).toHaveLength(layout.length);
    const inOrder = Float32Array.from(tensors.flatMap(({ values }) => [...values]));
    const gaps = read.map((value, index) => Math.abs(value - (inOrder[index] ?? Number.NaN)));
    expect(gaps.reduce((a, b) => Math.max(a, b))).toBeLessThanOrEqual(2 * tolerance);
  });

  it("whose head is tied to its embedding gets a head of its own, that begins as a copy", async () => {
    await write(without("lm_head.weight"), { tie_word_embeddings: true });
    const read = await weights();
    const part = (name: string) => {
      const { offset = 0, length = 0 } = layout.tensors.find((tensor) => tensor.name === name) ?? {};
      return read.subarray(offset, offset + length);
    };
    expect(part("head")).toEqual(part("embedding"));
  });

  it("may hold what follows from the configuration anyway", async () => {
    const frequencies = { name: "model.layers.0.self_attn.rotary_emb.inv_freq", type: "F32", shape: [2] } as const;
    await write([...tensors, { ...frequencies, values: Float32Array.of(1, 0.01) }]);
    expect(await weights()).toHaveLength(layout.length);
  });

  it.each<[string, readonly FileTensor[], object, string, string]>([
    ["lacks a tensor", without("model.norm.weight"), {}, "invalid-config", "model.norm.weight are missing"],
    [
      "has a tensor of another shape",
      tensors.map((one) => ({ ...one, shape: [...one.shape].reverse() })),
      {},
      "invalid-config",
      "has the shape [16,24] where config.json asks for [24,16]",
    ],
    [
      "has biases that its configuration does not mention",
      [
        ...tensors,
        { name: "model.layers.0.self_attn.q_proj.bias", type: "F32", shape: [1], values: Float32Array.of(0) },
      ],
      {},
      "invalid-config",
      "q_proj.bias, for which there is no place",
    ],
    [
      "has weights of whole numbers",
      tensors.map((one) => ({ ...one, type: "I32" })),
      {},
      "invalid-config",
      "is stored as I32",
    ],
    ["is of another architecture", tensors, { model_type: "gpt2" }, "invalid-config", "the architecture gpt2"],
  ])("that %s is refused, and says why", async (_what, parts, part, code, message) => {
    await write(parts, part);
    expect(await refusal()).toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it("that is cut short, or names files elsewhere, is refused", async () => {
    await write(tensors);
    const whole = await readFile(join(folder, "model.safetensors"));
    for (const length of [0, 7, 20, whole.length - 1]) {
      await writeFile(join(folder, "model.safetensors"), whole.subarray(0, length));
      expect(await refusal()).toMatchObject({ code: "file-unreadable" });
    }
    const index = { weight_map: { "lm_head.weight": "../secret.safetensors" } };
    await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
    expect(await refusal()).toMatchObject({ code: "invalid-config", message: expect.stringContaining("../secret") });
  });

  it("must say which of our tokenizers its model was trained with, unless it is told", async () => {
    await write(tensors);
    const failure = await openModelFolder(folder, undefined).catch(failureOf);
    expect(failure).toMatchObject({ code: "invalid-option", action: expect.stringContaining("--tokenizer") });
  });
});
