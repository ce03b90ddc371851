/** What a merge needs of the replica and the miner around it. */
import { vectorPayloadBytes } from "../../compute/codec/vector.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { LogLine } from "../../protocol/machine-view.ts";
import type { MergeMessage } from "../../protocol/merge-messages.ts";
import type { Partition } from "../../protocol/partitions.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { ByteLimits } from "../../transport/wanted-blob.ts";
import type { Place } from "../flow/place.ts";
import type { Clock } from "../session/clock.ts";
import type { PastMerges } from "./past-merges.ts";

export interface MergeSurroundings {
  readonly self: MinerId;
  readonly peerBlobs: PeerBlobs;
  readonly clock: Clock;
  /** What was merged, for who was away meanwhile. */
  readonly pastMerges: Pick<PastMerges, "keep" | "merged">;
  /** To another replica of the stage, over the link that there is, if there is one: what is lost is said again. */
  readonly tell: (to: MinerId, message: MergeMessage) => void;
  /** Whether it is on the roster of the stage, as far as this replica knows. */
  readonly isLive: (miner: MinerId) => boolean;
  readonly log: (level: LogLine["level"], text: string) => void;
}

/** One merge: of a place, over the replicas that the orchestrator listed. */
export interface MergeScope extends MergeSurroundings {
  readonly place: Place;
  readonly replicas: readonly MinerId[];
  readonly partitions: readonly Partition[];
  /** Aborted when the replica has left the epoch. */
  readonly signal: AbortSignal;
}

/** Those of `miners` who may be asked, once each: the live ones first. */
export function inOrderOfHope({ self, isLive }: MergeScope, miners: readonly MinerId[]): readonly MinerId[] {
  const others = [...new Set(miners)].filter((miner) => miner !== self);
  return [...others.filter(isLive), ...others.filter((miner) => !isLive(miner))];
}

/** Says in the log who served something else than was asked for. */
export function namingLiars({ log }: MergeScope): (holder: MinerId) => void {
  return (holder) => log("warning", `Miner ${holder.slice(0, 8)} served other bytes than those that were asked for.`);
}

/** What a slice of the partition can come to, encoded: nothing longer is fetched, whatever its owner says. */
export function payloadLimitsOf({ place }: MergeScope, { length }: Partition): ByteLimits {
  return vectorPayloadBytes(place.training.compression.merge, length);
}
