/** One merge of a stage among replicas in this process, and what it cost and came to. */

import { vectorPayloadBytes } from "../../../src/compute/codec/vector.ts";
import { fakeContributions, largestError, relativeError } from "../../../src/miner/merge/fake-contributions.ts";
import { FakeSwarm } from "../../../src/miner/merge/fake-swarm.ts";
import { type Partition, partitionsOf } from "../../../src/protocol/partitions.ts";
import type { VectorCodec } from "../../../src/protocol/run-config.ts";
import { mean } from "../shared/report.ts";
import { CoreOrchestrator, mergePlace, mergeRun } from "./core-orchestrator.ts";

export interface MergeShape {
  readonly replicas: number;
  readonly parameters: number;
  readonly seed: number;
  readonly codec: VectorCodec;
}

/** Who dies, right before which delivery. */
export interface Dropout {
  readonly replica: number;
  readonly moment: number;
}

/** What docs/protocol.md says that a replica sends, and receives: at the most, for a codec whose payloads have no fixed length. */
function theoreticalBytes({ replicas, codec }: MergeShape, partitions: readonly Partition[]): number {
  const vectorBytes = partitions.reduce((sum, { length }) => sum + vectorPayloadBytes(codec, length).most, 0);
  return replicas === 1 ? 0 : (3 - 4 / replicas) * vectorBytes;
}

export async function measureMerge(shape: MergeShape, dropouts: readonly Dropout[] = []) {
  const { replicas, seed, codec } = shape;
  const { run, parameters } = mergeRun(replicas, shape.parameters, codec);
  const place = mergePlace(run);
  const contributions = fakeContributions(replicas, parameters, seed);
  const swarm = new FakeSwarm(contributions, place);
  for (const { replica, moment } of dropouts) swarm.killAt(replica, moment);
  const outcome = await new CoreOrchestrator(swarm, run).merge();
  if (outcome.weightsHashes.size > 1) throw new Error("the replicas ended with different weights");
  const ids = swarm.members.map(({ id }) => id);
  const partitions = partitionsOf(place.at, ids, parameters, codec);
  const traffic = swarm.members.map(({ link }) => link.traffic);
  return {
    replicas,
    parameters,
    partitions: partitions.length,
    bytesSentPerReplica: Math.round(mean(traffic.map(({ sentBytes }) => sentBytes))),
    bytesReceivedPerReplica: Math.round(mean(traffic.map(({ receivedBytes }) => receivedBytes))),
    theoreticalBytes: Math.round(theoreticalBytes(shape, partitions)),
    /** Of one replica's vector, as f32, to its payloads. */
    compression:
      (4 * parameters) / partitions.reduce((sum, { length }) => sum + vectorPayloadBytes(codec, length).most, 0),
    /** With several dropouts some slices may be means of fewer: then there is no one figure that they should be. */
    maxAbsError: dropouts.length > 1 ? null : largestError(swarm, contributions, outcome),
    relativeError: dropouts.length > 1 ? null : relativeError(swarm, contributions, outcome),
    partitionsLost: outcome.lost,
    /** Deliveries of messages, to replicas and to the orchestrator. */
    deliveries: swarm.moments,
  };
}
