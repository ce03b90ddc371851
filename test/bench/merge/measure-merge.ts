/** One merge of a stage among replicas in this process, and what it cost and came to. */
import { fakeContributions, largestError } from "../../../src/miner/merge/fake-contributions.ts";
import { FakeSwarm } from "../../../src/miner/merge/fake-swarm.ts";
import { partitionsOf } from "../../../src/protocol/partitions.ts";
import { mean } from "../shared/report.ts";
import { CoreOrchestrator, mergePlace, mergeRun } from "./core-orchestrator.ts";

export interface MergeShape {
  readonly replicas: number;
  readonly parameters: number;
  readonly seed: number;
}

/** Who dies, right before which delivery. */
export interface Dropout {
  readonly replica: number;
  readonly moment: number;
}

/** What docs/protocol.md says that a replica sends, and receives, in f32. */
export function theoreticalBytes({ replicas, parameters }: MergeShape): number {
  return (replicas === 1 ? 0 : 3 - 4 / replicas) * 4 * parameters;
}

export async function measureMerge(shape: MergeShape, dropouts: readonly Dropout[] = []) {
  const { replicas, seed } = shape;
  const { run, parameters } = mergeRun(replicas, shape.parameters);
  const place = mergePlace(run);
  const contributions = fakeContributions(replicas, parameters, seed);
  const swarm = new FakeSwarm(contributions, place);
  for (const { replica, moment } of dropouts) swarm.killAt(replica, moment);
  const outcome = await new CoreOrchestrator(swarm, run).merge();
  if (outcome.weightsHashes.size > 1) throw new Error("the replicas ended with different weights");
  const traffic = swarm.members.map(({ link }) => link.traffic);
  return {
    replicas,
    parameters,
    partitions: partitionsOf(
      place.at,
      swarm.members.map(({ id }) => id),
      parameters,
    ).length,
    bytesSentPerReplica: Math.round(mean(traffic.map(({ sentBytes }) => sentBytes))),
    bytesReceivedPerReplica: Math.round(mean(traffic.map(({ receivedBytes }) => receivedBytes))),
    theoreticalBytes: Math.round(theoreticalBytes({ ...shape, parameters })),
    /** With several dropouts some slices may be means of fewer: then there is no one figure that they should be. */
    maxAbsError: dropouts.length > 1 ? null : largestError(swarm, contributions, outcome),
    partitionsLost: outcome.lost,
    /** Deliveries of messages, to replicas and to the orchestrator. */
    deliveries: swarm.moments,
  };
}
