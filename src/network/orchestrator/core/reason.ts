/** Why a run, or a miner, does not train: in words. */
import { assertNever } from "../../../protocol/assert-never.ts";
import { coverage } from "./coverage.ts";
import { liveReplicas } from "./replicas.ts";
import { epochRuns, type Member, type RunState, stageName, targetReached } from "./state.ts";

/** Why the run is not training; empty while it is. */
export function reasonOf(state: RunState): string {
  const { phase, definition, intent } = state;
  const resting = { run: "", pause: " The run pauses afterwards.", finish: " The run ends afterwards." }[intent];
  const live = state.stages.flatMap(({ spec }) => liveReplicas(state, spec.index));
  switch (phase.name) {
    case "waiting": {
      const { counts, fewest, present } = coverage(state);
      if (fewest === 0) return `${stageName(state, counts.indexOf(0))} has no miner.`;
      const wanted = definition.minimumReplicas * definition.stages;
      if (phase.gatherUntilMs !== null && phase.deadlineMs === phase.gatherUntilMs && present < wanted)
        return `Waiting for miners: ${present} of ${wanted} are here.`;
      return "The next attempt follows in a moment.";
    }
    case "preparing":
      return `${live.filter(({ ready }) => ready !== null).length} of ${live.length} replicas have loaded their weights.`;
    case "training":
      return "";
    case "uploading": {
      const contributed = live.filter(({ contribution }) => contribution !== null).length;
      return `${contributed} of ${live.length} contributions are handed over.${resting}`;
    }
    case "merging": {
      const merged = phase.stages.filter(({ step }) => step.name === "agreed").length;
      return `${merged} of ${definition.stages} stages are merged.${resting}`;
    }
    case "storing": {
      const stored = state.upload?.stages.filter(({ isStored }) => isStored).length ?? 0;
      return `${stored} of ${definition.stages} stages of the checkpoint are stored.${resting}`;
    }
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

/** Why a miner has no place though others have; null when it has one, or nobody has. */
export function idleReason(state: RunState, { stages, memoryLimitBytes }: Member): string | null {
  if (stages.length > 0 || !(epochRuns(state) || state.phase.name === "waiting")) return null;
  const least = Math.min(...state.needs.map(({ memoryBytes }) => memoryBytes));
  if (memoryLimitBytes >= least) return epochRuns(state) ? "No stage needs this miner at the moment." : null;
  return `No stage fits into ${inMebibytes(memoryLimitBytes)} of memory: the smallest one takes ${inMebibytes(least)}.`;
}

function inMebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
