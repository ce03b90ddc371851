/** What the network view shows, derived from the run and its telemetry. Pure. */
import type { MinerId } from "../../../protocol/ids.ts";
import type { ReplicaView, RunView, Telemetry } from "../../../protocol/run-view.ts";
import { format, strings } from "../../strings/strings.ts";

export type MinerTelemetry = Telemetry["miners"][number];

export interface OwnMachine {
  readonly minerId: MinerId;
  /** By its person: its place is free, and nothing is wrong. */
  readonly paused: boolean;
}

export type ShownState = ReplicaView["state"] | "paused";

export function shownState(replica: ReplicaView, own: OwnMachine): ShownState {
  return own.paused && replica.minerId === own.minerId ? "paused" : replica.state;
}

export function telemetryByMiner(telemetry: Telemetry | null): ReadonlyMap<MinerId, MinerTelemetry> {
  return new Map(telemetry?.miners.map((miner) => [miner.minerId, miner]));
}

/** Tokens that the run trains on per second. Each of them goes backward through every stage, on a machine each. */
export function runTokensPerSecond(stages: RunView["stages"], telemetry: Telemetry): number {
  const passed = telemetry.miners.reduce((sum, miner) => sum + miner.tokensPerSecond, 0);
  return passed / Math.max(1, stages.length);
}

export function minerCounts(stages: RunView["stages"]): { miners: number; training: number } {
  const miners = new Set<MinerId>();
  const training = new Set<MinerId>();
  for (const { replicas } of stages)
    for (const { minerId, state } of replicas) {
      if (state !== "lost") miners.add(minerId);
      if (state === "training") training.add(minerId);
    }
  return { miners: miners.size, training: training.size };
}

/** In which the epoch's microbatches are through. */
const finishedPhases: readonly RunView["phase"][] = ["uploading", "merging", "storing", "finished"];

/** How far the present epoch is, 0 … 1. */
export function epochFraction(run: RunView, telemetry: Telemetry | null): number {
  if (finishedPhases.includes(run.phase)) return 1;
  if (!telemetry || telemetry.microbatchesPlanned === 0) return 0;
  return Math.min(1, telemetry.microbatchesDone / telemetry.microbatchesPlanned);
}

export function stageTitle(index: number, count: number): string {
  return strings.network.stage(format.count(index + 1), format.count(count));
}

/** As `stageTitle`, for all that one machine holds. */
export function stagesTitle(indices: readonly number[], count: number): string {
  const [first = 0] = indices;
  if (indices.length === 1) return stageTitle(first, count);
  const numbers = indices.map((index) => format.count(index + 1));
  return strings.network.stages(new Intl.ListFormat(strings.locale).format(numbers), format.count(count));
}

/** "layers 1–2, embedding". Layers are counted from 1 for people. */
export function stageContent(stage: RunView["stages"][number], count: number): string {
  const parts = [strings.network.layers(format.count(stage.fromLayer + 1), format.count(stage.toLayer))];
  if (stage.index === 0) parts.push(strings.network.embedding);
  if (stage.index === count - 1) parts.push(strings.network.head);
  return parts.join(", ");
}
