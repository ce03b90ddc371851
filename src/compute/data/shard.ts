/**
 * A shard: a run of tokens as one binary file, little-endian, each token in the fewest of 1, 2 or 4 bytes.
 *
 *     offset  bytes  field
 *          0      4  "TAHS"
 *          4      2  version, 1
 *          6      2  bytes per token: 1, 2 or 4
 *          8      8  tokens
 *         16      …  the tokens
 *
 * Typed arrays are used as they lie in memory: every platform this runs on is little-endian.
 */
import { FailureError } from "../../protocol/failure.ts";

/** Tokens in the narrowest array that holds them; four times smaller for bytes than Int32Array. */
export type TokenArray = Uint8Array | Uint16Array | Int32Array;

const magic = "TAHS";
const version = 1;
const headerBytes = 16;

/** `vocabulary` decides the width, so that all shards of a dataset share it. */
export function encodeShard(tokens: Int32Array, vocabulary: number): Uint8Array {
  const narrow =
    vocabulary <= 1 << 8 ? Uint8Array.from(tokens) : vocabulary <= 1 << 16 ? Uint16Array.from(tokens) : tokens;
  const file = new Uint8Array(headerBytes + narrow.byteLength);
  file.set(new TextEncoder().encode(magic));
  const header = new DataView(file.buffer);
  header.setUint16(4, version, true);
  header.setUint16(6, narrow.BYTES_PER_ELEMENT, true);
  header.setBigUint64(8, BigInt(narrow.length), true);
  file.set(new Uint8Array(narrow.buffer, narrow.byteOffset, narrow.byteLength), headerBytes);
  return file;
}

/** Reads a shard, without a copy where alignment allows. Throws `FailureError` (dataset-invalid). */
export function decodeShard(file: Uint8Array): TokenArray {
  if (file.length < headerBytes || new TextDecoder().decode(file.subarray(0, 4)) !== magic)
    throw invalid("not a shard");
  const header = new DataView(file.buffer, file.byteOffset, headerBytes);
  if (header.getUint16(4, true) !== version) throw invalid(`of version ${header.getUint16(4, true)}, not ${version}`);
  const tokenBytes = header.getUint16(6, true);
  const bytes = file.length - headerBytes;
  if (header.getBigUint64(8, true) * BigInt(tokenBytes) !== BigInt(bytes)) throw invalid("cut short or too long");
  const aligned = (file.byteOffset + headerBytes) % tokenBytes === 0 ? file : Uint8Array.from(file);
  const offset = aligned.byteOffset + headerBytes;
  if (tokenBytes === 1) return new Uint8Array(aligned.buffer, offset, bytes);
  if (tokenBytes === 2) return new Uint16Array(aligned.buffer, offset, bytes / 2);
  if (tokenBytes === 4) return new Int32Array(aligned.buffer, offset, bytes / 4);
  throw invalid(`of ${tokenBytes} bytes per token`);
}

/** The largest token id. A shard with ids beyond the model's vocabulary must not be trained on. */
export function largestToken(tokens: TokenArray): number {
  let largest = 0;
  // By index: an iterator takes ten times as long, and a shard has a million tokens.
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as number;
    if (token < 0) throw invalid("with a negative token");
    if (token > largest) largest = token;
  }
  return largest;
}

function invalid(what: string): FailureError {
  return new FailureError("dataset-invalid", `A data shard is ${what}.`, { action: "Prepare the dataset again." });
}
