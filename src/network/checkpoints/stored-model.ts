/** A model on disk that is read tensor by tensor, so that it need not fit into memory: a checkpoint, or a folder of other programs. */
import type { FileHandle } from "node:fs/promises";
import type { TokenizerId } from "../../compute/data/tokenizer.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import type { ModelConfig, StageSpec } from "../../protocol/run-config.ts";

export interface StoredModel {
  readonly model: ModelConfig;
  readonly tokenizer: TokenizerId;
  /** `name` and length as `stageLayout` has them. Rejects with `FailureError`: state-corrupt, file-unreadable. */
  readTensor(name: string): Promise<Float32Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** The parameter vector of one stage, which may be the whole model. */
export async function readStage(stored: StoredModel, stage: StageSpec): Promise<Float32Array<ArrayBuffer>> {
  const layout = stageLayout(stored.model, stage);
  const vector = new Float32Array(layout.length);
  for (const { name, offset } of layout.tensors) vector.set(await stored.readTensor(name), offset);
  return vector;
}

/** The most that one call of the file system takes. */
const largestReadBytes = 2 ** 30;

/** Fills `target` from `position` on; false when the file ends before. */
export async function readFully(file: FileHandle, target: Uint8Array, position: number): Promise<boolean> {
  let done = 0;
  while (done < target.length) {
    const length = Math.min(largestReadBytes, target.length - done);
    const { bytesRead } = await file.read(target, done, length, position + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}
