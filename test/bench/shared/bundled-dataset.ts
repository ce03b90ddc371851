/** The demo's text as a dataset in memory, cut and held out as `tah demo` does it. */
import { buildDataset, type Manifest } from "../../../src/compute/data/manifest.ts";
import { decodeShard, type TokenArray } from "../../../src/compute/data/shard.ts";
import { splitDocuments } from "../../../src/compute/data/split.ts";
import { loadTokenizer, type TokenizerId } from "../../../src/compute/data/tokenizer.ts";
import { readBundledTexts } from "../../../src/network/dataset/bundled-texts.ts";
import { hashBytes } from "../../../src/protocol/identity.ts";

export interface Dataset {
  readonly manifest: Manifest;
  readonly shardOf: (hash: Manifest["trainShards"][number]["hash"]) => TokenArray;
}

const tokensPerShard = 1 << 20;
const validationShare = 0.05;

export async function bundledDataset(tokenizerId: TokenizerId): Promise<Dataset> {
  const tokenizer = await loadTokenizer(tokenizerId);
  const split = splitDocuments(await readBundledTexts(), tokenizer, validationShare);
  const { manifest, files } = buildDataset(split, tokenizer, tokensPerShard, hashBytes);
  const shards = new Map([...files].map(([hash, file]) => [hash, decodeShard(file)]));
  return {
    manifest,
    shardOf(hash) {
      const shard = shards.get(hash);
      if (shard === undefined) throw new Error(`the dataset has no shard ${hash}`);
      return shard;
    },
  };
}
