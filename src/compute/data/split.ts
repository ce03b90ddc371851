/** Which text is trained on and which is held out. */
import type { Tokenizer } from "./tokenizer.ts";

export interface SplitTokens {
  readonly train: Int32Array;
  readonly validation: Int32Array;
}

/**
 * Holds out the last `validationShare` of every document, so that validation sees every author and no training sample
 * can reach into it. Documents are separated by the tokenizer's end-of-document token, also where one was cut.
 */
export function splitDocuments(
  documents: Iterable<string>,
  tokenizer: Tokenizer,
  validationShare: number,
): SplitTokens {
  if (!(validationShare > 0 && validationShare < 1)) throw new RangeError("validationShare must lie between 0 and 1");
  const train: Int32Array[] = [];
  const validation: Int32Array[] = [];
  const separator = Int32Array.of(tokenizer.endOfDocument);
  for (const document of documents) {
    const tokens = tokenizer.encode(document);
    const cut = Math.round(tokens.length * (1 - validationShare));
    if (cut > 0) train.push(tokens.subarray(0, cut), separator);
    if (cut < tokens.length) validation.push(tokens.subarray(cut), separator);
  }
  return { train: concatenate(train), validation: concatenate(validation) };
}

function concatenate(parts: readonly Int32Array[]): Int32Array {
  const whole = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
