/**
 * Checks every message that comes from another replica: nothing in it is believed until it fits the epoch, the stage's shapes, and
 * what the roster lets its sender say, and unless its sender has signed it.
 */
import { MalformedPayloadError } from "../../compute/codec/malformed.ts";
import { readRowFormat, rowPayloadBytes } from "../../compute/codec/rows.ts";
import { channelsBefore } from "../../compute/model/parts.ts";
import type { AnsweredKind } from "../../protocol/answer.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { RowFormat } from "../../protocol/run-config.ts";
import { microbatchesInStep } from "../../protocol/source-shares.ts";
import { payloadDigest, type TransferRecord } from "../../protocol/transfer-record.ts";
import { holdsFirstStage, holdsLastStage, type Place, tokensPerMicrobatch } from "./place.ts";
import type { Routes } from "./routes.ts";
import type { Transfers } from "./transfers.ts";

/** A message that was found to be in order. */
export interface Received extends MicrobatchMessage {
  /** Of the payload; null for a flush marker, which has none. */
  readonly record: TransferRecord | null;
}

interface Receiver {
  readonly place: Place;
  readonly self: MinerId;
  readonly routes: Routes;
  readonly transfers: Transfers;
}

/** Throws `FailureError`: unexpected-message, and bad-signature when it is not what its sender signed. */
export function checkInbound(
  from: MinerId,
  kind: AnsweredKind,
  message: MicrobatchMessage,
  receiver: Receiver,
): Received {
  checkClaims(from, kind, message, receiver);
  if (kind === "flush") return { ...message, record: null };
  const { step, microbatch: index, origin, payload, signature } = message;
  const { index: own } = receiver.place.stage;
  const sent = { kind, step, index, digest: payloadDigest(payload), origin };
  const record = receiver.transfers.check(from, kind === "forward" ? own - 1 : own + 1, sent, signature);
  return { ...message, record };
}

function checkClaims(
  from: MinerId,
  kind: AnsweredKind,
  message: MicrobatchMessage,
  { place, self, routes }: Receiver,
): void {
  const { step, path } = message;
  if (step >= place.training.stepsPerEpoch) throw unexpected("a step that the epoch does not have");
  if (routes.shareOf(path[0]) === undefined) throw unexpected("a path that does not begin at a source");
  const { index, count } = place.stage;
  if (kind === "backward") {
    if (holdsLastStage(place)) throw unexpected("a gradient behind the last stage");
    if (path.length !== count || path[index] !== self) throw unexpected("a path that does not lead here");
    mustBeSender(from, path[index + 1], index + 1, routes);
  } else {
    if (holdsFirstStage(place)) throw unexpected(`"${kind}" before the first stage`);
    if (path.length !== (kind === "flush" ? 1 : index)) throw unexpected("a path that does not lead here");
    mustBeSender(from, path.at(-1), kind === "flush" ? 0 : index - 1, routes);
  }
  if (kind === "flush") checkFlush(message);
  else checkTensor(kind, message, place, routes);
}

function mustBeSender(from: MinerId, named: MinerId | undefined, stage: number, routes: Routes): void {
  if (named !== from || !routes.belongs(from, stage))
    throw unexpected("a sender that is not the neighbour on the path");
}

function checkFlush({ rows, columns }: MicrobatchMessage): void {
  if (rows !== 0 || columns !== 0) throw unexpected("a flush marker with a payload");
}

function checkTensor(kind: "forward" | "backward", message: MicrobatchMessage, place: Place, routes: Routes): void {
  const { sequences, rows, columns, path, step, microbatch, payload } = message;
  const { training, model, stage } = place;
  const channels = channelsBefore(model, kind === "forward" ? stage.fromLayer : stage.toLayer);
  if (sequences !== training.sequencesPerMicrobatch || rows !== tokensPerMicrobatch(place) || columns !== channels)
    throw unexpected(`a tensor of ${sequences} sequences, [${rows}, ${columns}]`);
  if (payload.length !== rowPayloadBytes(formatOf(payload), { rows, columns }))
    throw unexpected(`a payload of ${payload.length} bytes`);
  const { first, count } = routes.shareOf(path[0]) ?? { first: 0, count: 0 };
  const turn = microbatch - step * microbatchesInStep(routes.sources.length, training.microbatchesPerStep) - first;
  if (turn < 0 || turn >= count) throw unexpected("a microbatch that is not its source's in this step");
}

function formatOf(payload: Uint8Array): RowFormat {
  try {
    return readRowFormat(payload);
  } catch (error) {
    if (error instanceof MalformedPayloadError) throw unexpected("a payload of an unknown format");
    throw error;
  }
}

function unexpected(what: string): FailureError {
  return new FailureError("unexpected-message", what);
}
