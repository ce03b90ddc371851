/** What a scenario is: what happens to a swarm, and what it must stand. */
import { setTimeout as pause } from "node:timers/promises";
import type { Lots } from "../../lab/lots.ts";
import type { FaultSwarm, SwarmMiner } from "./fault-swarm.ts";

export interface Scenario {
  readonly name: string;
  readonly about: string;
  /** How long the swarm is disturbed, unless told otherwise. */
  readonly minutes: number;
  /** Share of the undisturbed tokens per second that must be left. */
  readonly goodputAtLeast?: number;
  /** Of the slowest recovery. */
  readonly recoverySecondsAtMost?: number;
  /** Slices of the model that may keep their previous value because nobody could average them. */
  readonly partitionsLostAtMost?: number;
  /** The orchestrator's state lies on a disk of its own. */
  readonly smallDisk?: boolean;
  /** Disturbs the swarm, for about `seconds`, and resolves when everything is as it was. Returns what is worth saying of it. */
  disturb(disturbance: Disturbance): Promise<object>;
}

export interface Disturbance {
  readonly swarm: FaultSwarm;
  readonly seconds: number;
  readonly lots: Lots;
  /** A fault happens now, from which the flow should recover. */
  readonly mark: () => void;
}

export function seconds(count: number): Promise<void> {
  return pause(count * 1000);
}

/** Shuffled by lots, as Fisher and Yates did it. */
export function shuffled<T>(items: readonly T[], lots: Lots): readonly T[] {
  const left = [...items];
  return items.flatMap(() => left.splice(left.indexOf(lots.pick(left)), 1));
}

/** One replica of every stage. */
export function oneOfEachStage(swarm: FaultSwarm, lots: Lots): readonly SwarmMiner[] {
  return Array.from({ length: swarm.options.stages }, (_, stage) => lots.pick(swarm.replicasOf(stage)));
}

/** A moment in the first half of an epoch's training, with all replicas at work: what stalls then has no other reason. */
export async function inMidTraining({ watcher, miners }: FaultSwarm): Promise<void> {
  const isMidTraining = () => {
    const { view, telemetry } = watcher;
    const training = view?.stages.flatMap(({ replicas }) => replicas).filter(({ state }) => state === "training");
    const { microbatchesDone = 0, microbatchesPlanned = 0 } = telemetry ?? {};
    return (
      view?.phase === "training" &&
      training?.length === miners.length &&
      microbatchesDone > 0 &&
      microbatchesDone < microbatchesPlanned / 2
    );
  };
  await watcher.until(isMidTraining, 60_000);
}
