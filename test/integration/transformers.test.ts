/** Folders that `transformers` wrote, as our engine computes them, and folders for it, with tokenizers of every kind. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadTokenizer } from "../../src/compute/data/tokenizer.ts";
import { openDevice } from "../../src/compute/device.ts";
import { createEngine } from "../../src/compute/engine.ts";
import { optimizerStateLength } from "../../src/compute/model/optimizer-state.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { readStage } from "../../src/network/checkpoints/stored-model.ts";
import { openModelFolder } from "../../src/network/hugging-face/open-model.ts";
import { randomTokens, smallModel } from "../compute/small-model.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";
import { exportFakeModel } from "../network/fake-archive.ts";
import { askTransformers, named, skipReason } from "./python-transformers.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sequenceLength = 24;
const configuration = {
  vocab_size: 256,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 3,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  rope_theta: 500_000,
  // Larger than by default, so that attention is not all but even.
  initializer_range: 0.3,
};

it.skipIf(skipReason !== undefined).each([
  ["bytes", 256],
  ["gpt2", 50_257],
  ["cl100k", 100_277],
] as const)(
  named("the tokenizer %s has the same tokens there as here"),
  { timeout: 120_000 },
  async (tokenizer, vocabulary) => {
    const text = "Call me Ishmael. I'll don't WE'LL 12345 --  Größe 鯨 🐋 \u0000\r\n\n\t tab Ā  ";
    const exported = await exportFakeModel(join(folder, tokenizer), {
      tokenizer,
      model: { ...smallModel, vocabulary },
    });
    const answer = askTransformers({ folder: exported, create: null, tokens: [[1, 2]], targets: [[2, 3]], text });
    expect(answer.ids).toEqual([...(await loadTokenizer(tokenizer)).encode(text)]);
    expect(answer.decoded).toBe(text);
  },
);

it.skipIf(skipReason !== undefined).each([false, true])(
  named("a model of transformers, with its head tied to the embedding: %s, has the same loss here"),
  { timeout: 120_000 },
  async (tied) => {
    const written = join(folder, `tied-${tied}`);
    const model = { vocabulary: 256 };
    const [tokens, targets] = [
      randomTokens(model, sequenceLength, "tokens"),
      randomTokens(model, sequenceLength, "next"),
    ];
    const theirs = askTransformers({
      folder: written,
      create: { ...configuration, tie_word_embeddings: tied },
      tokens: [[...tokens]],
      targets: [[...targets]],
      text: null,
    });
    const stored = await openModelFolder(written, "bytes");
    const stage = wholeModel(stored.model);
    const weights = await readStage(stored, stage);
    await stored.close();
    const engine = createEngine(openDevice);
    const training = { ...presets.tiny.training, sequenceLength };
    await engine.open({ backend: "native", threads: 1, model: stored.model, stage, training });
    await engine.load({ weights, optimizer: new Float32Array(optimizerStateLength(training.mode, weights.length)) });
    const { lossSumNats } = await engine.evaluate({ tokens, targets, sequences: 1 });
    engine.close();
    expect(lossSumNats / theirs.lossSumNats).toBeCloseTo(1, 4);
  },
);
