import { expect, it } from "vitest";
import { byteTokenizer } from "../../compute/data/byte-tokenizer.ts";
import { buildDataset } from "../../compute/data/manifest.ts";
import { trainingCrops } from "../../compute/data/samples.ts";
import { hashBytes } from "../../protocol/identity.ts";
import type { BlobRef } from "../../protocol/ids.ts";
import type { ModelConfig, TrainingConfig } from "../../protocol/run-config.ts";
import { openSamples } from "./samples-from-blobs.ts";

it("keeps the shards used lately in memory, and no more of them than its limit allows", async () => {
  const shardTokens = 100; // of one byte each
  const text = Int32Array.from({ length: 300 }, (_, index) => index % 256);
  const { manifest, files } = buildDataset({ train: text, validation: text }, byteTokenizer, shardTokens, hashBytes);
  const manifestBytes = new TextEncoder().encode(JSON.stringify(manifest));
  const manifestRef = { hash: hashBytes(manifestBytes), bytes: manifestBytes.length };
  const fetched: string[] = [];
  const blobs = {
    async get({ hash }: BlobRef): Promise<Uint8Array> {
      fetched.push(hash);
      return hash === manifestRef.hash ? manifestBytes : Uint8Array.from(files.get(hash) ?? []);
    },
  };
  const shape = { seed: 1, sequenceLength: 8, sequencesPerMicrobatch: 1 } as TrainingConfig;
  const { signal } = new AbortController();
  const samples = await openSamples(
    blobs,
    manifestRef,
    { vocabulary: 256 } as ModelConfig,
    shape,
    signal,
    2 * shardTokens,
  );
  /** A sample that is cut out of the shard of this number. */
  const from = (shard: number) => {
    const wanted = manifest.trainShards[shard]?.hash;
    const index = Array.from({ length: 100 }, (_, i) => i).find(
      (i) => trainingCrops(manifest, shape, { epoch: 0, index: i })[0]?.shard === wanted,
    );
    return samples.sample({ epoch: 0, index: index ?? Number.NaN }, signal);
  };
  const fetchesOf = async (...shards: number[]) => {
    fetched.length = 0;
    for (const shard of shards) expect((await from(shard)).tokens).toHaveLength(8);
    return fetched.map((hash) => manifest.trainShards.findIndex((shard) => shard.hash === hash));
  };
  expect(await fetchesOf(0, 1, 0, 1, 0)).toEqual([0, 1]);
  // The third drives out the second, which was unused for longest.
  expect(await fetchesOf(2, 0, 1)).toEqual([2, 1]);
});
