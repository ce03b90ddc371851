/** The stages' parameter vectors put together as the whole model's. */
import { type StageLayout, stageLayout } from "../../compute/model/layout.ts";
import { wholeModel } from "../../compute/model/stages.ts";
import { FailureError } from "../../protocol/failure.ts";
import { floatsOf } from "../../protocol/identity.ts";
import type { ModelConfig, StageSpec } from "../../protocol/run-config.ts";

/** `vectors`: raw f32, one per stage. Throws `FailureError` (state-corrupt) when one has not its stage's length. */
export function joinStages(
  model: ModelConfig,
  stages: readonly StageSpec[],
  vectors: readonly Uint8Array[],
): Float32Array {
  const whole = stageLayout(model, wholeModel(model));
  const offsets = new Map(whole.tensors.map(({ name, offset }) => [name, offset]));
  const joined = new Float32Array(whole.length);
  stages.forEach((stage, index) => {
    const layout: StageLayout = stageLayout(model, stage);
    const bytes = vectors[index];
    if (bytes?.length !== layout.length * 4)
      throw new FailureError("state-corrupt", `The weights of stage ${index} do not fit the model.`);
    const values = floatsOf(bytes);
    for (const { name, offset, length } of layout.tensors)
      joined.set(values.subarray(offset, offset + length), offsets.get(name));
  });
  return joined;
}
