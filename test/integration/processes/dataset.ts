/** Text that a tiny model learns something from within seconds, as a dataset. */
import { byteTokenizer } from "../../../src/compute/data/byte-tokenizer.ts";
import { buildDataset, type Dataset } from "../../../src/compute/data/manifest.ts";
import { splitDocuments } from "../../../src/compute/data/split.ts";
import { hashBytes } from "../../../src/protocol/identity.ts";

export function squaresDataset(): Dataset {
  const text = Array.from({ length: 3000 }, (_, number) => `${number * number} is the square of ${number}. `).join("");
  return buildDataset(splitDocuments([text], byteTokenizer, 0.1), byteTokenizer, 50_000, hashBytes);
}
