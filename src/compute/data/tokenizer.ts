/**
 * Text as token ids. This folder turns text into samples: tokenizers, shards, the dataset's manifest, and which crop of
 * which shard a sample is. It is pure: callers read and write the files, and hash them.
 */
import { z } from "zod";
import { byteTokenizer } from "./byte-tokenizer.ts";

export const tokenizerIdSchema = z.enum(["bytes", "gpt2", "cl100k"]);
export type TokenizerId = z.infer<typeof tokenizerIdSchema>;

export interface Tokenizer {
  readonly id: TokenizerId;
  /** Token ids run from 0 to vocabulary − 1. */
  readonly vocabulary: number;
  /** Written between documents. */
  readonly endOfDocument: number;
  encode(text: string): Int32Array;
  /** Ids that stand for no text, and bytes that are not UTF-8, come out as U+FFFD. */
  decode(tokens: Int32Array): string;
}

/** Loads a tokenizer; vocabularies of megabytes are read only when they are asked for. */
export async function loadTokenizer(id: TokenizerId): Promise<Tokenizer> {
  if (id === "bytes") return byteTokenizer;
  const { loadBpeTokenizer } = await import("./bpe-tokenizer.ts");
  return loadBpeTokenizer(id);
}
