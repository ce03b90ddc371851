import { describe, expect, it } from "vitest";
import { randomWeights, smallModel } from "../../../test/compute/small-model.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { cutIntoStages, wholeModel } from "../../compute/model/stages.ts";
import { floatsOf, hashBytes } from "../../protocol/identity.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import { joinStages } from "../validator/join-stages.ts";
import { storeFirstCheckpoint } from "./first-checkpoint.ts";
import type { StoredModel } from "./stored-model.ts";

const layout = stageLayout(smallModel, wholeModel(smallModel));
const vector = randomWeights(smallModel, layout);

function storedModel(weights: Float32Array): StoredModel {
  return {
    model: smallModel,
    tokenizer: "bytes",
    readTensor: async (wanted) => {
      const { offset, length } = layout.tensors.find(({ name }) => name === wanted) ?? expect.fail(wanted);
      return Float32Array.from(weights.subarray(offset, offset + length));
    },
    close: async () => undefined,
  };
}

describe("a run's first checkpoint", () => {
  const kept = new Map<BlobHash, Uint8Array>();
  const blobs = {
    put: async (bytes: Uint8Array) => {
      const ref = { hash: hashBytes(bytes), bytes: bytes.length };
      kept.set(ref.hash, bytes);
      return ref;
    },
  };
  const bytesOf = (hash: BlobHash) => kept.get(hash) ?? expect.fail(hash);

  it("is the model cut into stages, with an optimizer that remembers nothing", async () => {
    const { epoch, tokens, stages } = await storeFirstCheckpoint(
      storedModel(vector),
      { stages: 2, mode: "local-steps" },
      blobs,
    );
    expect([epoch, tokens, stages.length]).toEqual([0, 0, 2]);
    const parts = stages.map(({ weights }) => bytesOf(weights.hash));
    expect(joinStages(smallModel, cutIntoStages(smallModel, 2), parts)).toEqual(vector);
    for (const { weights, optimizer } of stages) {
      expect(optimizer.bytes).toBe(3 * weights.bytes + 4);
      expect(floatsOf(bytesOf(optimizer.hash)).every((value) => value === 0)).toBe(true);
    }
  });

  it("has no weights that are not numbers", async () => {
    const broken = Float32Array.from(vector);
    broken[7] = Number.NaN;
    const storing = storeFirstCheckpoint(storedModel(broken), { stages: 1, mode: "sync" }, blobs);
    await expect(storing).rejects.toMatchObject({ failure: { code: "invalid-config" } });
  });
});
