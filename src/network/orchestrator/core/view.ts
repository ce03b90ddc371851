/** What anyone may see of a run, derived from its state. */
import { assertNever } from "../../../protocol/assert-never.ts";
import type { ReplicaView, RunView, StageView } from "../../../protocol/run-view.ts";
import { countReplicas } from "../placement/place.ts";
import { modelParameters } from "./definition.ts";
import { type Member, type RunState, rosterMembers, stageName, targetReached } from "./state.ts";

export function viewOf(state: RunState): RunView {
  const { definition, phase } = state;
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
    stages: state.stages.map(({ spec, parameters }) => ({
      index: spec.index,
      fromLayer: spec.fromLayer,
      toLayer: spec.toLayer,
      parameters,
      replicas: replicasOf(state, spec.index),
    })),
    placement: null,
    credits: { ...state.credits },
    checkpoint: state.checkpoint,
  };
}

/** Why the run is not training, in words; empty while it is. */
export function reasonOf(state: RunState): string {
  const { phase, definition, intent } = state;
  const present = rosterMembers(state).length;
  const resting = { run: "", pause: " The run pauses afterwards.", finish: " The run ends afterwards." }[intent];
  switch (phase.name) {
    case "waiting": {
      const counts = countReplicas(definition.stages, state.members);
      const empty = counts.indexOf(0);
      if (empty !== -1) return `${stageName(state, empty)} has no miner.`;
      const wanted = definition.minimumReplicas * definition.stages;
      if (Math.min(...counts) < definition.minimumReplicas)
        return `Waiting for miners: ${state.members.length} of ${wanted} are here.`;
      return "The last attempt failed; the next one follows in a moment.";
    }
    case "preparing":
      return `${Object.keys(phase.ready).length} of ${present} replicas have loaded their weights.`;
    case "training":
      return "";
    case "uploading":
      return `${phase.contributions.length} of ${present} contributions are uploaded.${resting}`;
    case "merging":
      return `${phase.stages.filter((merge) => merge.step === "stored").length} of ${definition.stages} stages are merged and stored.${resting}`;
    case "paused":
      return "The run's owner paused it.";
    case "finished":
      return targetReached(state)
        ? `The run reached its target of ${definition.targetTokens} tokens.`
        : "The run's owner ended it.";
    default:
      return assertNever(phase);
  }
}

function replicasOf(state: RunState, stage: number): StageView["replicas"] {
  const present = state.members.filter((member) => member.stage === stage);
  const lost = state.departed.filter((one) => one.stage === stage && one.epoch === state.epoch);
  return [
    ...present.map((member) => ({ minerId: member.minerId, name: member.name, state: replicaState(state, member) })),
    ...lost.map(({ minerId, name }) => ({ minerId, name, state: "lost" as const })),
  ];
}

function replicaState(state: RunState, member: Member): ReplicaView["state"] {
  if (!state.roster.stages[member.stage]?.includes(member.minerId)) return "warming-up";
  return state.phase.name === "preparing" ? "preparing" : "training";
}
