/** Replicas hand their contributions to the owners of the partitions; from then on those may outlive them. */

import type { ClientMessage } from "../../../protocol/client-messages.ts";
import type { MinerId } from "../../../protocol/ids.ts";
import { sourceShares } from "../../../protocol/source-shares.ts";
import type { Next } from "./next.ts";
import { epochTraining } from "./planning.ts";
import { everyLive, isLive, liveReplicas, stageWithout } from "./replicas.ts";
import { memberOf, type PhaseOf, placeRef, type Replica, type RunState, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";

export function beginUploading(turn: Turn, plannedTokens: number): void {
  const { definition, stages } = turn.state;
  const listed = stages.map(({ spec }) => liveReplicas(turn.state, spec.index).map(({ minerId }) => minerId));
  const deadlineMs = turn.atMs + definition.timeouts.uploadMs;
  turn.enter({ name: "uploading", deadlineMs, plannedTokens, listed });
  for (const [stage, replicas] of listed.entries()) {
    const at = placeRef(turn.state, stage);
    for (const { minerId, away } of liveReplicas(turn.state, stage))
      if (!away) turn.send(minerId, { type: "upload", at, replicas });
  }
}

/** False when it was known. */
export function recordContribution(
  turn: Turn,
  phase: PhaseOf<"uploading">,
  stage: number,
  replica: Replica,
  report: Extract<ClientMessage, { type: "contributed" }>,
): boolean {
  if (!isLive(replica) || replica.contribution !== null) return false;
  const { manifest, tokens, lossSumNats, computeMs, boundary } = report;
  const most = mostTokensOf(turn.state, stage, replica.minerId, phase.plannedTokens);
  if (tokens > most) refuseClaim(turn, stage, replica.minerId, `it claims ${tokens} tokens of ${most}`);
  else
    turn.changeReplica(stage, replica.minerId, {
      contribution: { manifest, tokens, lossSumNats, computeMs, boundary },
    });
  return true;
}

/**
 * The most tokens that a replica can have trained in the epoch: the orchestrator sees no microbatch, but it dealt them out. A source
 * has its share of every step; the other stages' replicas share all that the sources send, as `merging.ts` takes into account.
 */
function mostTokensOf(state: RunState, stage: number, minerId: MinerId, planned: number): number {
  if (stage > 0) return planned;
  const { sequenceLength, sequencesPerMicrobatch, microbatchesPerStep, stepsPerEpoch } = epochTraining(state);
  const { sources } = state.roster.announced;
  const index = sources.findIndex((source) => source.minerId === minerId);
  const microbatches = sourceShares(sources, microbatchesPerStep)[index]?.count ?? 0;
  return microbatches * stepsPerEpoch * sequenceLength * sequencesPerMicrobatch;
}

function refuseClaim(turn: Turn, stage: number, minerId: MinerId, why: string): void {
  const refusedClaims = (memberOf(turn.state, minerId)?.refusedClaims ?? 0) + 1;
  turn.changeMember(minerId, { refusedClaims });
  turn.dropAsUnreliable(stage, minerId, `${why} (${refusedClaims} refused so far).`);
}

export function advanceUploading(state: RunState, phase: PhaseOf<"uploading">): Next | null {
  const uncovered = stageWithout(state, isLive);
  if (uncovered !== undefined) return { to: "retry", why: `${stageName(state, uncovered)} lost its last replica.` };
  if (!everyLive(state, ({ contribution }) => contribution !== null)) return null;
  const untrained = stageWithout(state, ({ contribution }) => (contribution?.tokens ?? 0) > 0);
  if (untrained === undefined) return { to: "merge", plannedTokens: phase.plannedTokens, listed: phase.listed };
  if (state.intent !== "run") return { to: "abandon" };
  return { to: "retry", why: `${stageName(state, untrained)} has trained nothing.` };
}

export function expireUploading(turn: Turn): void {
  for (const [stage, replicas] of turn.state.replicas.entries())
    for (const one of replicas)
      if (isLive(one) && one.contribution === null)
        turn.dropAsUnreliable(stage, one.minerId, "it did not hand over its contribution in time.");
}
