/**
 * Checks every message that comes from another miner: nothing in it is believed until it fits the epoch, the stage's shapes
 * and the paths that the roster allows.
 */
import { FailureError } from "../../protocol/failure.ts";
import type { MessageKind } from "../../protocol/frames.ts";
import { type MinerId, sameEpoch } from "../../protocol/ids.ts";
import { decodeMicrobatch, type MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { PeerMessage } from "../../transport/peer-link.ts";
import { type Place, tokensPerMicrobatch } from "./place.ts";
import type { Routes } from "./routes.ts";

/** Throws `FailureError`: stale-epoch when the message is about another epoch, malformed-message or unexpected-message otherwise. */
export function checkInbound(message: PeerMessage, place: Place, self: MinerId, routes: Routes): MicrobatchMessage {
  const microbatch = decodeMicrobatch(message.body);
  const { epoch, attempt, step, path } = microbatch;
  if (!sameEpoch(place.at, { ...place.at, epoch, attempt }))
    throw new FailureError("stale-epoch", `about epoch ${epoch}, attempt ${attempt}`);
  if (step >= place.training.stepsPerEpoch) throw unexpected("a step that the epoch does not have");
  if (!routes.isPath(path) || path[place.stage.index] !== self) throw unexpected("a path that does not lead here");
  if (neighbour(message.kind, path, place.stage.index) !== message.from)
    throw unexpected("a sender that is not the neighbour on the path");
  if (message.kind === "flush") checkFlush(microbatch);
  else checkTensor(microbatch, place, routes);
  return microbatch;
}

function neighbour(kind: MessageKind, path: readonly MinerId[], stage: number): MinerId | undefined {
  return kind === "backward" ? path[stage + 1] : path[stage - 1];
}

function checkFlush({ rows, columns }: MicrobatchMessage): void {
  if (rows !== 0 || columns !== 0) throw unexpected("a flush marker with values");
}

function checkTensor(microbatch: MicrobatchMessage, place: Place, routes: Routes): void {
  const { sequences, rows, columns, path, step } = microbatch;
  const { training, model } = place;
  if (sequences !== training.sequencesPerMicrobatch || rows !== tokensPerMicrobatch(place) || columns !== model.width)
    throw unexpected(`a tensor of ${sequences} sequences, [${rows}, ${columns}]`);
  const source = routes.sourceIndex(path[0]);
  const turn = (microbatch.microbatch - source) / routes.sourceCount;
  if (!Number.isInteger(turn) || Math.floor(turn / training.microbatchesPerStep) !== step)
    throw unexpected("a microbatch that is not its source's in this step");
}

function unexpected(what: string): FailureError {
  return new FailureError("unexpected-message", what);
}
