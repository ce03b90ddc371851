/**
 * A tokenizer as the file `tokenizer.json` of Hugging Face's tokenizers library, which `PreTrainedTokenizerFast` loads. All
 * of ours are byte-pair encodings over bytes; the byte tokenizer is the one without merges.
 */
import { loadPieces } from "../../compute/data/bpe-tokenizer.ts";
import type { TokenizerId } from "../../compute/data/tokenizer.ts";

interface Special {
  readonly content: string;
  readonly id: number;
}

interface Encoding {
  /** What a token stands for, by its id. */
  readonly tokens: readonly Uint8Array[];
  readonly specials: readonly Special[];
  /** How text is cut before it is merged, as a regular expression; null: as GPT-2 does; undefined: not at all. */
  readonly split: string | null | undefined;
}

/** https://github.com/openai/tiktoken, tiktoken_ext/openai_public.py */
const cl100kSplit =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const cl100kSpecials: readonly Special[] = [
  { content: "<|endoftext|>", id: 100_257 },
  { content: "<|fim_prefix|>", id: 100_258 },
  { content: "<|fim_middle|>", id: 100_259 },
  { content: "<|fim_suffix|>", id: 100_260 },
  { content: "<|endofprompt|>", id: 100_276 },
];

export async function tokenizerJson(id: TokenizerId): Promise<object> {
  const { tokens, specials, split } = await encodingOf(id);
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  const cut = { type: "Split", pattern: { Regex: split }, behavior: "Isolated", invert: false };
  const bytesOnly = { ...byteLevel, use_regex: split === null };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specials.map((special) => ({
      ...special,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: split == null ? bytesOnly : { type: "Sequence", pretokenizers: [cut, bytesOnly] },
    post_processor: null,
    decoder: { ...byteLevel, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((bytes, token) => [spell(bytes), token])),
      merges: mergesOf(tokens),
    },
  };
}

async function encodingOf(id: TokenizerId): Promise<Encoding> {
  if (id === "bytes")
    return { tokens: Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)), specials: [], split: undefined };
  const encoder = new TextEncoder();
  const pieces = await loadPieces(id);
  const tokens = Array.from(pieces, (piece = []) =>
    typeof piece === "string" ? encoder.encode(piece) : Uint8Array.from(piece),
  );
  if (id === "gpt2") return { tokens, specials: [{ content: "<|endoftext|>", id: 50_256 }], split: null };
  return { tokens, specials: cl100kSpecials, split: cl100kSplit };
}

/**
 * The pair that each token is merged from, in order. Vocabularies of tiktoken do not say: it is what is left of the token's
 * bytes when all merges before it have been made.
 */
function mergesOf(tokens: readonly Uint8Array[]): readonly string[] {
  const ranks = new Map(tokens.map((bytes, token) => [spell(bytes), token]));
  return tokens.flatMap((bytes, token) => {
    if (bytes.length < 2) return [];
    const parts = mergeBelow(
      ranks,
      Array.from(bytes, (byte) => byteCharacters[byte] ?? ""),
      token,
    );
    if (parts.length !== 2) throw new Error(`token ${token} is merged from ${parts.length} others`);
    return [parts.join(" ")];
  });
}

/** Byte-pair encoding (Sennrich 2016, §3.2) with the merges that come before `limit`. */
function mergeBelow(ranks: ReadonlyMap<string, number>, parts: readonly string[], limit: number): readonly string[] {
  const pairs = parts.slice(1).map((part, index) => `${parts[index]}${part}`);
  const ranked = pairs.map((pair) => ranks.get(pair) ?? limit);
  const best = Math.min(limit, ...ranked);
  if (best === limit) return parts;
  const place = ranked.indexOf(best);
  return mergeBelow(ranks, [...parts.slice(0, place), pairs[place] ?? "", ...parts.slice(place + 2)], limit);
}

/**
 * A printable character for every byte: itself where it has one, else from U+0100 on (Radford 2019, `bytes_to_unicode` of
 * https://github.com/openai/gpt-2/blob/master/src/encoder.py).
 */
const byteCharacters: readonly string[] = (() => {
  const isPrintable = (byte: number) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte <= 0xff && byte !== 0xad);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
})();

function spell(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byteCharacters[byte]).join("");
}
