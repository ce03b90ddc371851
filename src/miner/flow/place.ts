/** The place that the orchestrator gave this replica for one attempt at one epoch: the stage, and all that belongs to it. */
import { isDeepStrictEqual } from "node:util";
import { isFirstStage, isLastStage } from "../../compute/model/stages.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import type { EpochRef } from "../../protocol/ids.ts";

export type Place = Extract<GatewayMessage, { type: "prepare" }>;

/** Whether the compute worker can serve `b` as it was opened for `a`: how many steps an epoch has is none of its business. */
export function sameStage(a: Place, b: Place): boolean {
  return (
    a.at.runId === b.at.runId &&
    isDeepStrictEqual(a.stage, b.stage) &&
    isDeepStrictEqual(a.model, b.model) &&
    isDeepStrictEqual({ ...a.training, stepsPerEpoch: b.training.stepsPerEpoch }, b.training)
  );
}

/** Of the same run, an earlier epoch or an earlier attempt at it. */
export function isOlder(a: EpochRef, b: EpochRef): boolean {
  return a.runId === b.runId && (a.epoch < b.epoch || (a.epoch === b.epoch && a.attempt < b.attempt));
}

export function holdsFirstStage(place: Place): boolean {
  return isFirstStage(place.stage);
}

export function holdsLastStage(place: Place): boolean {
  return isLastStage(place.stage);
}

/** Tokens in one microbatch. */
export function tokensPerMicrobatch({ training }: Place): number {
  return training.sequencesPerMicrobatch * training.sequenceLength;
}
