/** Questions about the replicas of the current attempt. They are asked at every event, of all replicas: plain loops, which make no garbage. */
import type { MinerId } from "../../../protocol/ids.ts";
import type { Replica, RunState } from "./state.ts";

export function replicaOf(state: RunState, stage: number, minerId: MinerId): Replica | undefined {
  return state.replicas[stage]?.find((replica) => replica.minerId === minerId);
}

export function isLive(replica: Replica): boolean {
  return replica.part === "live";
}

export function liveReplicas(state: RunState, stage: number): readonly Replica[] {
  return state.replicas[stage]?.filter(isLive) ?? [];
}

export function countLive(state: RunState, stage: number): number {
  let count = 0;
  for (const replica of state.replicas[stage] ?? []) if (isLive(replica)) count++;
  return count;
}

/** Whether all live replicas of all stages do; so they do where there is none. */
export function everyLive(state: RunState, does: (replica: Replica) => boolean): boolean {
  for (const replicas of state.replicas)
    for (const replica of replicas) if (isLive(replica) && !does(replica)) return false;
  return true;
}

/** The first stage without a replica that does; undefined when all have one. */
export function stageWithout(state: RunState, does: (replica: Replica) => boolean): number | undefined {
  const stage = state.replicas.findIndex((replicas) => !replicas.some(does));
  return stage === -1 ? undefined : stage;
}

/** Everyone who has a place in the current attempt: they may reach each other, and their stage's blobs. */
export function epochMembers(state: RunState): ReadonlySet<MinerId> {
  return new Set(
    state.replicas.flatMap((replicas) => replicas.filter(({ part }) => part !== "out").map(({ minerId }) => minerId)),
  );
}
