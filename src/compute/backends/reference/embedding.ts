import type { RowShape, Slice } from "../../kernels.ts";
import { accumulate, at, indices, reals } from "./memory.ts";

export function embeddingForward(out: Slice, table: Slice, tokens: Slice, { rows, width }: RowShape): void {
  const [outValues, tableValues] = [reals(out), reals(table)];
  for (let row = 0; row < rows; row++) {
    const from = tableRow(tokens, row, table.length / width) * width;
    outValues.set(tableValues.subarray(from, from + width), row * width);
  }
}

export function embeddingBackward(dTable: Slice, dOut: Slice, tokens: Slice, { rows, width }: RowShape): void {
  const [dTableValues, dOutValues] = [reals(dTable), reals(dOut)];
  for (let row = 0; row < rows; row++) {
    const to = tableRow(tokens, row, dTable.length / width) * width;
    for (let c = 0; c < width; c++) accumulate(dTableValues, to + c, at(dOutValues, row * width + c));
  }
}

function tableRow(tokens: Slice, row: number, vocabulary: number): number {
  const token = at(indices(tokens), row);
  if (token < 0 || token >= vocabulary) throw new RangeError(`token ${token} is outside a vocabulary of ${vocabulary}`);
  return token;
}
