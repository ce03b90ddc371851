/** What anyone may see of a run, derived from its state. */
import type { ReplicaView, RunView, StageView } from "../../../protocol/run-view.ts";
import { modelParameters } from "./definition.ts";
import { reasonOf } from "./reason.ts";
import type { Member, Replica, RunState } from "./state.ts";
import { transmissionOf } from "./transmission.ts";

export function viewOf(state: RunState): RunView {
  const { definition, phase } = state;
  const byStage = state.stages.map((): Member[] => []);
  for (const member of state.members) for (const stage of member.stages) byStage[stage]?.push(member);
  return {
    runId: definition.runId,
    name: definition.name,
    preset: definition.preset,
    parameters: modelParameters(definition),
    layers: definition.model.layers,
    width: definition.model.width,
    vocabulary: definition.model.vocabulary,
    tokenizer: definition.tokenizer,
    mode: definition.training.mode,
    microbatchTokens: definition.training.sequenceLength * definition.training.sequencesPerMicrobatch,
    targetTokens: definition.targetTokens,
    phase: phase.name,
    reason: reasonOf(state),
    epoch: state.epoch,
    attempt: state.attempt,
    phaseSinceMs: state.phaseSinceMs,
    tokens: state.tokens,
    microbatchesLost: state.microbatchesLost,
    partitionsLost: state.partitionsLost,
    stages: state.stages.map(({ spec, parameters }) => ({
      index: spec.index,
      fromLayer: spec.fromLayer,
      toLayer: spec.toLayer,
      parameters,
      replicas: replicasOf(state, byStage[spec.index] ?? [], spec.index),
    })),
    placement: state.placement,
    links: Object.fromEntries(state.members.flatMap(({ minerId, link }) => (link === null ? [] : [[minerId, link]]))),
    credits: { ...state.credits },
    checkpoint: state.checkpoint,
    checkpointUpload: uploadView(state),
    boundaryFormats: state.boundaryWatch.formats,
    transmission: transmissionOf(definition, state.boundaryWatch.formats),
    boundaries: state.boundaryWatch.last.flatMap((health, stage) => (health === null ? [] : [{ stage, ...health }])),
    alarms: state.boundaryWatch.alarms,
    plan: { current: state.plan.current, recommended: state.plan.recommended },
  };
}

function replicasOf(state: RunState, present: readonly Member[], stage: number): StageView["replicas"] {
  const parts = new Map(state.replicas[stage]?.map((replica) => [replica.minerId, replica]));
  const lost = state.departed.filter((one) => one.epoch === state.epoch && one.stages.includes(stage));
  return [
    ...present.map(({ minerId, name }) => ({ minerId, name, state: replicaState(state, parts.get(minerId)) })),
    ...lost.map(({ minerId, name }) => ({ minerId, name, state: "lost" as const })),
  ];
}

function replicaState({ phase }: RunState, replica: Replica | undefined): ReplicaView["state"] {
  if (replica?.away) return "lost";
  if (replica?.part !== "live") return "warming-up";
  return phase.name === "preparing" ? "preparing" : "training";
}

function uploadView({ upload }: RunState): RunView["checkpointUpload"] {
  if (upload === null) return null;
  const { epoch, tokens, stages } = upload;
  return { epoch, tokens, storedStages: stages.filter(({ isStored }) => isStored).length };
}
