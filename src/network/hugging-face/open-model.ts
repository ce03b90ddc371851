/** Reads a folder as `transformers` writes it, or as `export-checkpoint.ts` does, as a model to start a run from. */
import { type FileHandle, open, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import type { TokenizerId } from "../../compute/data/tokenizer.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { wholeModel } from "../../compute/model/stages.ts";
import { FailureError } from "../../protocol/failure.ts";
import { checkpointManifestSchema } from "../checkpoints/manifest.ts";
import { readFully, type StoredModel } from "../checkpoints/stored-model.ts";
import { isWeightType, toFloats, type WeightType } from "./elements.ts";
import { manifestFile, weightsFile, weightsIndexFile } from "./export-checkpoint.ts";
import { fromLlamaConfig } from "./llama-config.ts";
import { headerLength, parseHeader, prefixBytes, type TensorEntry } from "./safetensors.ts";
import { huggingFaceName } from "./tensor-names.ts";

interface FoundTensor extends TensorEntry {
  readonly file: FileHandle;
  /** Where the file's tensors begin. */
  readonly dataOffset: number;
}

const weightsIndexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/** Of older exports; follows from the base. */
const derivedTensor = /\.rotary_emb\.inv_freq$/;

/**
 * `tokenizer`: for folders that were not exported by this program, and so do not name one of ours. Rejects with
 * `FailureError`: file-unreadable, invalid-config for a model that cannot be trained here, invalid-option without a tokenizer.
 */
export async function openModelFolder(folder: string, tokenizer: TokenizerId | undefined): Promise<StoredModel> {
  const { model, tiedHead } = fromLlamaConfig(await readJson(join(folder, "config.json")));
  const ownTokenizer = tokenizer ?? (await exportedTokenizer(folder));
  const files: FileHandle[] = [];
  const close = async () => {
    await Promise.all(files.map((file) => file.close()));
  };
  try {
    const found = new Map<string, FoundTensor>();
    for (const name of await weightFiles(folder)) {
      const file = await openFile(join(folder, name));
      files.push(file);
      for (const tensor of await readEntries(file)) found.set(tensor.name, tensor);
    }
    const sources = new Map(
      stageLayout(model, wholeModel(model)).tensors.map(({ name, shape }) => {
        const theirs = huggingFaceName(tiedHead && name === "head" ? "embedding" : name);
        return [name, mustHaveShape(theirs, found.get(theirs), shape)];
      }),
    );
    mustBeAll(found, new Set([...sources.values()].map(({ name }) => name)), tiedHead);
    return {
      model,
      tokenizer: ownTokenizer,
      async readTensor(name) {
        const source = sources.get(name);
        if (source === undefined) throw new Error(`the model has no tensor ${name}`);
        const bytes = new Uint8Array(source.end - source.begin);
        if (!(await readFully(source.file, bytes, source.dataOffset + source.begin)))
          throw new FailureError("file-unreadable", `${source.name} was cut short while it was read.`);
        return toFloats(bytes, source.type);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function exportedTokenizer(folder: string): Promise<TokenizerId> {
  const text = await readFile(join(folder, manifestFile), "utf8").catch(() => null);
  const parsed = text === null ? undefined : checkpointManifestSchema.safeParse(parseJson(text, manifestFile));
  if (parsed?.success) return parsed.data.tokenizer;
  throw new FailureError(
    "invalid-option",
    `${folder} does not say which of our tokenizers its model was trained with.`,
    {
      action:
        "Name it with --tokenizer bytes, gpt2 or cl100k. Models with other vocabularies cannot go on training here.",
    },
  );
}

async function weightFiles(folder: string): Promise<readonly string[]> {
  const text = await readFile(join(folder, weightsIndexFile), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw unreadable(join(folder, weightsIndexFile), error);
  });
  if (text === null) return [weightsFile];
  const index = weightsIndexSchema.safeParse(parseJson(text, weightsIndexFile));
  if (!index.success) throw invalid(`${weightsIndexFile} does not say where the weights are`);
  const names = [...new Set(Object.values(index.data.weight_map))];
  const foreign = names.find((name) => basename(name) !== name || !name.endsWith(".safetensors"));
  if (foreign !== undefined) throw invalid(`${weightsIndexFile} names ${foreign}, which is no file beside it`);
  return names;
}

async function readEntries(file: FileHandle): Promise<readonly FoundTensor[]> {
  const { size } = await file.stat();
  const prefix = new Uint8Array(Math.min(prefixBytes, size));
  await readFully(file, prefix, 0);
  const header = new Uint8Array(headerLength(prefix, size));
  await readFully(file, header, prefixBytes);
  const dataOffset = prefixBytes + header.length;
  return parseHeader(header, size - dataOffset).map((entry) => ({ ...entry, file, dataOffset }));
}

function mustHaveShape(
  name: string,
  tensor: FoundTensor | undefined,
  shape: readonly number[],
): FoundTensor & { readonly type: WeightType } {
  if (tensor === undefined) throw invalid(`The weights of ${name} are missing`);
  const { type } = tensor;
  if (!isWeightType(type)) throw invalid(`${name} is stored as ${type}; F32, BF16 and F16 can be read`);
  if (tensor.shape.join() !== shape.join())
    throw invalid(`${name} has the shape [${tensor.shape.join()}] where config.json asks for [${shape.join()}]`);
  return { ...tensor, type };
}

/** A model that has more than ours would compute something else without it. */
function mustBeAll(found: ReadonlyMap<string, FoundTensor>, used: ReadonlySet<string>, tiedHead: boolean): void {
  const isSurplus = (name: string) =>
    !used.has(name) && !derivedTensor.test(name) && !(tiedHead && name === huggingFaceName("head"));
  const surplus = [...found.keys()].filter(isSurplus);
  if (surplus.length > 0)
    throw invalid(`The weights hold ${surplus.slice(0, 3).join(", ")}, for which there is no place`);
}

async function openFile(path: string): Promise<FileHandle> {
  return open(path).catch((error: NodeJS.ErrnoException) => {
    throw unreadable(path, error);
  });
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw unreadable(path, error);
  });
  return parseJson(text, path);
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FailureError("file-unreadable", `${name} is not JSON.`, { action: "Fetch the file again.", cause });
  }
}

function unreadable(path: string, cause: NodeJS.ErrnoException): FailureError {
  const message = cause.code === "ENOENT" ? `There is no ${path}.` : `Cannot read ${path}: ${cause.message}`;
  return new FailureError("file-unreadable", message, {
    action: "Name a folder with config.json and model.safetensors, as transformers' save_pretrained writes it.",
    cause,
  });
}

function invalid(message: string): FailureError {
  return new FailureError("invalid-config", `${message}.`, { action: "Import a Llama model with all its weights." });
}
