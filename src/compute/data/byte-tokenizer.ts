import type { Tokenizer } from "./tokenizer.ts";

/** UTF-8 bytes as tokens: nothing to learn, nothing to ship, and the loss reads as nats per byte. */
export const byteTokenizer: Tokenizer = {
  id: "bytes",
  vocabulary: 256,
  endOfDocument: 0,
  encode: (text) => Int32Array.from(new TextEncoder().encode(text)),
  decode: (tokens) => new TextDecoder().decode(Uint8Array.from(tokens)),
};
