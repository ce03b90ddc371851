/** The end of an epoch: what a replica hands in, and how all replicas of a stage come to the same new weights. */
import { stageLayout } from "../../compute/model/layout.ts";
import type { Contribution } from "../../compute/worker-protocol.ts";
import { failureOf } from "../../protocol/failure.ts";
import { bytesOf, floatsOf, hashBytes } from "../../protocol/identity.ts";
import type { BlobHash, BlobRef } from "../../protocol/ids.ts";
import type { GatewayMessage } from "../../protocol/messages.ts";
import type { BlobClient } from "../../transport/blobs/blob-client.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";
import type { Place } from "../flow/place.ts";

type Blobs = Pick<BlobClient, "take" | "put">;
export type MergeOrder = Extract<GatewayMessage, { type: "merge" }>;

/** What this replica handed in; kept so that it need not be fetched again. */
export interface HandedIn {
  readonly blob: BlobRef;
  readonly contribution: Contribution;
}

/** Takes what the replica has gathered out of the worker and puts it into the blob store. */
export async function handIn(
  place: Place,
  engine: ComputeEngine,
  blobs: Blobs,
  signal: AbortSignal,
): Promise<HandedIn> {
  if (place.training.mode === "local-steps") await stepOnTheRest(engine);
  signal.throwIfAborted();
  const contribution = await engine.call("contribution");
  signal.throwIfAborted();
  return { contribution, blob: await blobs.put(bytesOf(contribution.values), { signal }) };
}

/** Gradients whose source never finished its step count as well, if they are sound. */
async function stepOnTheRest(engine: ComputeEngine): Promise<void> {
  try {
    await engine.call("step");
  } catch (error) {
    if (failureOf(error)?.code !== "compute-non-finite") throw error;
  }
}

/** Averages the contributions in the order given and steps; returns the hash of the new weights. */
export async function merge(
  order: MergeOrder,
  place: Place,
  own: HandedIn | null,
  engine: ComputeEngine,
  blobs: Blobs,
  signal: AbortSignal,
): Promise<BlobHash> {
  const sound: Contribution[] = [];
  for (const { blob, tokens } of order.contributions) {
    if (blob.bytes !== stageLayout(place.model, place.stage).length * 4) continue;
    const isOwn = own !== null && own.blob.hash === blob.hash;
    const values = isOwn ? own.contribution.values : floatsOf(await blobs.take(blob, { signal }));
    // All replicas see the same bytes, so all leave out the same ones.
    if (allFinite(values)) sound.push({ values, tokens });
  }
  signal.throwIfAborted();
  await engine.call("merge", { contributions: sound });
  signal.throwIfAborted();
  const { weights } = await engine.call("state");
  return hashBytes(bytesOf(weights));
}

export async function storeState(
  engine: ComputeEngine,
  blobs: Blobs,
  signal: AbortSignal,
): Promise<{ readonly weights: BlobRef; readonly optimizer: BlobRef }> {
  const state = await engine.call("state");
  signal.throwIfAborted();
  return {
    weights: await blobs.put(bytesOf(state.weights), { signal }),
    optimizer: await blobs.put(bytesOf(state.optimizer), { signal }),
  };
}

function allFinite(values: Float32Array): boolean {
  return values.every((value) => Number.isFinite(value));
}
