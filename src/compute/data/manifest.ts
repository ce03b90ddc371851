/** A dataset: its shards by hash, those to train on and those held out. */
import { z } from "zod";
import { type BlobHash, blobRefSchema } from "../../protocol/ids.ts";
import { encodeShard } from "./shard.ts";
import type { SplitTokens } from "./split.ts";
import { type Tokenizer, tokenizerIdSchema } from "./tokenizer.ts";

export const shardRefSchema = blobRefSchema.extend({ tokens: z.int().positive() });
export type ShardRef = Readonly<z.infer<typeof shardRefSchema>>;

export const manifestSchema = z.strictObject({
  tokenizer: tokenizerIdSchema,
  trainShards: z.array(shardRefSchema).min(1).readonly(),
  validationShards: z.array(shardRefSchema).min(1).readonly(),
});
export type Manifest = Readonly<z.infer<typeof manifestSchema>>;

export interface Dataset {
  readonly manifest: Manifest;
  /** The shard files, by hash. */
  readonly files: ReadonlyMap<BlobHash, Uint8Array>;
}

/** Cuts split tokens into shards of at most `shardTokens`. `hash` gives the SHA-256 of a file, in lower-case hex. */
export function buildDataset(
  split: SplitTokens,
  tokenizer: Tokenizer,
  shardTokens: number,
  hash: (file: Uint8Array) => BlobHash,
): Dataset {
  const files = new Map<BlobHash, Uint8Array>();
  const cut = (tokens: Int32Array): ShardRef[] => {
    const count = Math.ceil(tokens.length / shardTokens);
    return Array.from({ length: count }, (_, index) => {
      // Equal shards, not full ones and a rest: the rest could be shorter than a sequence.
      const from = Math.floor((index * tokens.length) / count);
      const to = Math.floor(((index + 1) * tokens.length) / count);
      const file = encodeShard(tokens.subarray(from, to), tokenizer.vocabulary);
      const ref = { hash: hash(file), bytes: file.length, tokens: to - from };
      files.set(ref.hash, file);
      return ref;
    });
  };
  const manifest = manifestSchema.parse({
    tokenizer: tokenizer.id,
    trainShards: cut(split.train),
    validationShards: cut(split.validation),
  });
  return { manifest, files };
}
