/** Writes a checkpoint as a folder for other programs. */
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadTokenizer } from "../../compute/data/tokenizer.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { halvesOf } from "../../compute/model/parts.ts";
import { parameterCount, wholeModel } from "../../compute/model/stages.ts";
import { FailureError } from "../../protocol/failure.ts";
import { manifestBytes } from "../checkpoints/manifest.ts";
import type { OpenCheckpoint } from "../checkpoints/open-checkpoint.ts";
import { toBrainFloat } from "./elements.ts";
import { toLlamaConfig } from "./llama-config.ts";
import { modelCard } from "./model-card.ts";
import { createFolder } from "./output-folder.ts";
import { encodeHeader, type TensorShape, tensorBytes } from "./safetensors.ts";
import { huggingFaceName } from "./tensor-names.ts";
import { tokenizerJson } from "./tokenizer-json.ts";

export interface ExportOptions {
  /** `hf`: what `transformers` loads; `safetensors`: the weights alone, under the names of our layout. */
  readonly format: "hf" | "safetensors";
  readonly type: "f32" | "bf16";
  /** Must not exist, or be empty. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Of the weights; 0 … 1. */
  readonly onProgress: (share: number) => void;
  /** Larger weights are spread over several files. */
  readonly maxFileBytes?: number;
}

export interface ExportResult {
  /** In the order in which they were written. */
  readonly files: readonly string[];
  readonly weightsBytes: number;
}

/** The file that says which checkpoint it is: the manifest's very bytes, so that the file's SHA-256 is the checkpoint's name. */
export const manifestFile = "checkpoint-manifest.json";
export const weightsFile = "model.safetensors";
export const weightsIndexFile = "model.safetensors.index.json";

/** As `transformers` splits. */
const defaultMaxFileBytes = 5e9;
/** For everything but the weights; tokenizers of 100,000 tokens are the largest. */
const roomForRestBytes = 8 << 20;

interface SourceTensor extends TensorShape {
  /** In our layout. */
  readonly source: string;
}

interface WeightFile {
  readonly name: string;
  readonly tensors: readonly SourceTensor[];
}

/**
 * Rejects as `createFolder` and `StoredModel.readTensor`, with invalid-option where the format cannot hold the model, and with the
 * signal's reason.
 */
export async function exportCheckpoint(checkpoint: OpenCheckpoint, options: ExportOptions): Promise<ExportResult> {
  const { model, manifest } = checkpoint;
  const { format, type, folder, signal } = options;
  if (format === "hf" && halvesOf(model, wholeModel(model)).length > 0)
    throw new FailureError("invalid-option", "transformers has no model with bottlenecks between its layers.", {
      action: "Choose --format safetensors, which holds all weights under this program's own names.",
    });
  const weights = splitWeights(tensorsOf(checkpoint, options), options.maxFileBytes ?? defaultMaxFileBytes);
  const weightsBytes = parameterCount(model) * (type === "bf16" ? 2 : 4);
  const files: string[] = [];
  await createFolder(folder, weightsBytes + roomForRestBytes, async (draft) => {
    const write = async (name: string, content: string | Uint8Array) => {
      signal.throwIfAborted();
      await writeFile(join(draft, name), content);
      files.push(name);
    };
    const writeJson = (name: string, value: object) => write(name, `${JSON.stringify(value, null, 2)}\n`);
    const progress = { writtenBytes: 0, weightsBytes };
    for (const file of weights) {
      await writeWeights(checkpoint, join(draft, file.name), file.tensors, options, progress);
      files.push(file.name);
    }
    if (weights.length > 1) await writeJson(weightsIndexFile, weightsIndex(weights, weightsBytes));
    await write(manifestFile, manifestBytes(manifest));
    if (format === "safetensors") return;
    const { endOfDocument } = await loadTokenizer(manifest.tokenizer);
    const config = toLlamaConfig(model, endOfDocument, type);
    await writeJson("config.json", config);
    await writeJson("generation_config.json", { bos_token_id: endOfDocument, eos_token_id: endOfDocument });
    await write("tokenizer.json", JSON.stringify(await tokenizerJson(manifest.tokenizer)));
    await writeJson("tokenizer_config.json", {
      tokenizer_class: "PreTrainedTokenizerFast",
      model_max_length: model.context,
      clean_up_tokenization_spaces: false,
    });
    await write("README.md", modelCard(checkpoint, type));
  });
  return { files, weightsBytes };
}

function tensorsOf({ model }: OpenCheckpoint, { format, type }: ExportOptions): readonly SourceTensor[] {
  return stageLayout(model, wholeModel(model)).tensors.map(({ name, shape }) => ({
    source: name,
    name: format === "hf" ? huggingFaceName(name) : name,
    type: type === "bf16" ? "BF16" : "F32",
    shape,
  }));
}

/** Fills one file after the other; a tensor is never divided. */
function splitWeights(tensors: readonly SourceTensor[], maxFileBytes: number): readonly WeightFile[] {
  const parts: SourceTensor[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    const part = parts.at(-1);
    if (part === undefined || bytes > room) {
      parts.push([tensor]);
      room = maxFileBytes - bytes;
    } else {
      part.push(tensor);
      room -= bytes;
    }
  }
  const number = (index: number) => String(index).padStart(5, "0");
  return parts.map((part, index) => ({
    name: parts.length === 1 ? weightsFile : `model-${number(index + 1)}-of-${number(parts.length)}.safetensors`,
    tensors: part,
  }));
}

function weightsIndex(files: readonly WeightFile[], totalBytes: number): object {
  const map = files.flatMap(({ name, tensors }) => tensors.map((tensor) => [tensor.name, name] as const));
  return { metadata: { total_size: totalBytes }, weight_map: Object.fromEntries(map) };
}

async function writeWeights(
  checkpoint: OpenCheckpoint,
  path: string,
  tensors: readonly SourceTensor[],
  { signal, onProgress }: ExportOptions,
  progress: { writtenBytes: number; readonly weightsBytes: number },
): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(encodeHeader(tensors));
    for (const { source, type } of tensors) {
      signal.throwIfAborted();
      const values = await checkpoint.readTensor(source);
      const stored = type === "BF16" ? toBrainFloat(values) : values;
      await file.writeFile(new Uint8Array(stored.buffer));
      progress.writtenBytes += stored.byteLength;
      onProgress(progress.writtenBytes / progress.weightsBytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}
