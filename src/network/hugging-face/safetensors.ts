/**
 * The safetensors format (https://github.com/huggingface/safetensors): eight bytes with the length of a JSON header, the
 * header, the tensors' bytes. The header says for each tensor its type, its shape, and from where to where its bytes go.
 *
 * This folder speaks to Hugging Face's programs: it writes checkpoints as folders that `transformers` loads, and reads such
 * folders. It may import `checkpoints`, `compute` and `protocol`.
 */
import { z } from "zod";
import { FailureError } from "../../protocol/failure.ts";

const elementBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;
export type ElementType = keyof typeof elementBytes;

export interface TensorShape {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
}

export interface TensorEntry extends TensorShape {
  /** First byte and the one behind the last, counted from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

/** The header's length, in bytes in front of it. */
export const prefixBytes = 8;
/** The format's own limit. */
const maxHeaderBytes = 100_000_000;
const metadataKey = "__metadata__";

const offset = z.int().nonnegative();
const headerSchema = z.record(
  z.string(),
  z.object({
    dtype: z.string(),
    shape: z.array(offset).max(16),
    data_offsets: z.tuple([offset, offset]),
  }),
);

export function tensorBytes({ type, shape }: Pick<TensorShape, "type" | "shape">): number {
  return shape.reduce((bytes, extent) => bytes * extent, elementBytes[type]);
}

/** What comes before the tensors' bytes, which follow in the order given. */
export function encodeHeader(tensors: readonly TensorShape[]): Uint8Array {
  let end = 0;
  const entries = tensors.map((tensor) => {
    const begin = end;
    end += tensorBytes(tensor);
    return [tensor.name, { dtype: tensor.type, shape: tensor.shape, data_offsets: [begin, end] }];
  });
  // `transformers` loads only what says that it was laid out as PyTorch does.
  const json = JSON.stringify(Object.fromEntries([[metadataKey, { format: "pt" }], ...entries]));
  const text = new TextEncoder().encode(json);
  // Spaces at the end align the tensors.
  const header = new Uint8Array(prefixBytes + 8 * Math.ceil(text.length / 8)).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - prefixBytes), true);
  header.set(text, prefixBytes);
  return header;
}

/** The header's length by the file's first bytes. Throws `FailureError` (file-unreadable) when the file cannot have such a one. */
export function headerLength(prefix: Uint8Array, fileBytes: number): number {
  if (prefix.length < prefixBytes) throw damaged("it is too short");
  const length = new DataView(prefix.buffer, prefix.byteOffset, prefixBytes).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes) || length > BigInt(fileBytes - prefixBytes))
    throw damaged(`its header cannot have ${length} bytes`);
  return Number(length);
}

/**
 * The tensors in a file with `dataBytes` behind the header, in the order of their bytes. Throws `FailureError`
 * (file-unreadable) unless they fill these bytes without a gap or an overlap, as the format demands.
 */
export function parseHeader(header: Uint8Array, dataBytes: number): readonly TensorEntry[] {
  const { [metadataKey]: _metadata, ...rest } = parseJson(header);
  const parsed = headerSchema.safeParse(rest);
  if (!parsed.success) throw damaged("its header does not describe tensors");
  const entries = Object.entries(parsed.data).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [begin, end],
      },
    ]) => {
      if (!isElementType(dtype)) throw damaged(`the type ${dtype} of ${name} is not known`);
      const entry = { name, type: dtype, shape, begin, end };
      // Sums and products beyond 2⁵³ are inexact, but never as small as a file.
      if (end - begin !== tensorBytes(entry)) throw damaged(`the size of ${name} is not that of its shape`);
      return entry;
    },
  );
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  for (const entry of entries) {
    if (entry.begin !== end) throw damaged(`there is a gap or an overlap before ${entry.name}`);
    end = entry.end;
  }
  if (end !== dataBytes) throw damaged(`it has ${dataBytes} bytes of tensors where the header has ${end}`);
  return entries;
}

function parseJson(header: Uint8Array): Record<string, unknown> {
  try {
    return z
      .record(z.string(), z.unknown())
      .parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(header)));
  } catch (cause) {
    throw damaged("its header is not a JSON object", cause);
  }
}

function isElementType(text: string): text is ElementType {
  return Object.hasOwn(elementBytes, text);
}

function damaged(why: string, cause?: unknown): FailureError {
  return new FailureError("file-unreadable", `This is not a safetensors file: ${why}.`, {
    action: "Fetch the file again.",
    cause,
  });
}
