/** Byte-pair encodings whose vocabularies ship inside the `gpt-tokenizer` package. */
import type { Tokenizer, TokenizerId } from "./tokenizer.ts";

export async function loadBpeTokenizer(id: Exclude<TokenizerId, "bytes">): Promise<Tokenizer> {
  const encoding = await (id === "gpt2"
    ? import("gpt-tokenizer/encoding/r50k_base")
    : import("gpt-tokenizer/encoding/cl100k_base"));
  const pieces = await loadPieces(id);
  const [endOfDocument] = encoding.encode("<|endoftext|>", { allowedSpecial: "all" });
  if (endOfDocument === undefined) throw new Error(`${id} has no end-of-text token`);
  // Text that merely spells a special token is text: a document cannot end itself.
  const asText = { disallowedSpecial: new Set<string>() };
  return {
    id,
    vocabulary: encoding.vocabularySize,
    endOfDocument,
    encode: (text) => Int32Array.from(encoding.encode(text, asText)),
    decode: (tokens) => decodePieces(pieces, tokens),
  };
}

/** By token: the id of a token is also the rank of its merge. */
export async function loadPieces(id: Exclude<TokenizerId, "bytes">): Promise<Pieces> {
  const { default: pieces } = await (id === "gpt2"
    ? import("gpt-tokenizer/bpeRanks/r50k_base")
    : import("gpt-tokenizer/bpeRanks/cl100k_base"));
  return pieces;
}

/** What a token stands for: text, or the bytes of a part of a character; nothing for special and unused ids. */
type Pieces = readonly (string | readonly number[] | undefined)[];

/** Joins bytes before it decodes them. The package's own `decode` carries half a character over into the next call. */
function decodePieces(pieces: Pieces, tokens: Int32Array): string {
  const encoder = new TextEncoder();
  const bytes: number[] = [];
  for (const token of tokens) {
    const piece = pieces[token] ?? "\uFFFD";
    bytes.push(...(typeof piece === "string" ? encoder.encode(piece) : piece));
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}
