/** How much memory the kernels of a stage take for themselves: found out by passing a microbatch through that nobody computes. */
import type { Kernels, Workspace } from "../kernels.ts";
import type { ModelConfig, StageSpec, TrainingConfig } from "./config.ts";
import { countedMemory } from "./memory.ts";
import { createStage, lossForwardBackward, passOf, stageBackward, stageForward } from "./stage.ts";
import { allocateAllActivations } from "./stage-memory.ts";
import { isLastStage } from "./stages.ts";

interface Work {
  readonly model: ModelConfig;
  readonly stage: StageSpec;
  readonly training: TrainingConfig;
}

/** Bytes that the largest kernel call of a training pass takes. */
export function stageWorkspaceBytes({ model, stage: spec, training }: Work, workspace: Workspace): number {
  const { sequencesPerMicrobatch: sequences, sequenceLength } = training;
  const observed = observe(workspace);
  const size = { maximumTokens: sequences * sequenceLength, recompute: false };
  const stage = createStage(observed.kernels, countedMemory(), model, spec, size);
  const pass = passOf(stage, allocateAllActivations(stage), {
    sequences,
    queries: sequenceLength,
    keys: sequenceLength,
  });
  stageForward(stage, pass);
  if (isLastStage(spec)) lossForwardBackward(stage, pass);
  else stageBackward(stage, pass);
  return observed.mostBytes();
}

/** Kernels that compute nothing, and what the largest call would have taken. */
function observe(workspace: Workspace): { readonly kernels: Kernels; readonly mostBytes: () => number } {
  let most = 0;
  const take = (bytes: number) => {
    most = Math.max(most, bytes);
  };
  const observed: Partial<Kernels> = {
    matmul: (_out, _a, _b, shape) => take(workspace.matmulBytes(shape)),
    attentionForward: (_out, _sums, _q, _k, _v, shape) => take(workspace.attentionForwardBytes(shape)),
    attentionBackward: (...call) => take(workspace.attentionBackwardBytes(call[9])),
  };
  const kernels = new Proxy(observed, { get: (target, name) => Reflect.get(target, name) ?? (() => undefined) });
  return { kernels: kernels as Kernels, mostBytes: () => most };
}
