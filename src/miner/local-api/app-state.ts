/**
 * The daemon's local API: what it shows and offers to the programs of the person at this computer, and how they reach it.
 * This file is the pure part: what happens here, as changes of the state that they see. Those of the runs are in `known-runs.ts`.
 */
import type { AppChange } from "../../protocol/app-view.ts";
import { noFrameBytes } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { unmeasuredLink } from "../../protocol/link-report.ts";
import type { ActivityView, AppState, LogLine, MachineView, TrafficView } from "../../protocol/machine-view.ts";
import type { Telemetry } from "../../protocol/run-view.ts";
import type { MinerActivity } from "../miner.ts";

/** A change, and whether people should see it at once or may wait for the next batch. */
export interface StateChange extends AppChange {
  readonly urgent: boolean;
}

export const noActivity: ActivityView = {
  tokensPerSecond: 0,
  share: null,
  tokensForward: 0,
  tokensBackward: 0,
  bytesSent: 0,
  bytesReceived: 0,
  microbatchesInFlight: 0,
  memoryBytes: 0,
  trainingSeconds: 0,
};

const noTraffic: TrafficView = {
  total: { sentBytes: 0, receivedBytes: 0 },
  runs: [],
  sentFrames: noFrameBytes,
  sentBytesPerSecond: 0,
  receivedBytesPerSecond: 0,
  link: unmeasuredLink,
  peers: [],
};

export function initialState(machine: MachineView): AppState {
  return {
    machine,
    activity: noActivity,
    credits: { estimated: 0, pending: 0, payable: 0, paid: 0 },
    traffic: noTraffic,
    runs: [],
    run: null,
    telemetry: null,
  };
}

export function machineChange(state: AppState, machine: Partial<MachineView>): StateChange {
  return { urgent: true, set: { machine: { ...state.machine, ...machine } }, append: {} };
}

export function logChange(line: LogLine): StateChange {
  return { urgent: false, set: {}, append: { log: [line] } };
}

export function activityChange(state: AppState, activity: MinerActivity, memoryBytes: number): StateChange {
  const share = shareOf(state.machine.minerId, activity.tokensPerSecond, state.telemetry);
  return { urgent: false, set: { activity: { ...activity, share, memoryBytes } }, append: {} };
}

/** This miner's part of the run's tokens per second, 0 … 1; null while nobody trains. */
function shareOf(minerId: MinerId, ownTokensPerSecond: number, telemetry: Telemetry | null): number | null {
  let total = ownTokensPerSecond;
  for (const miner of telemetry?.miners ?? []) if (miner.minerId !== minerId) total += miner.tokensPerSecond;
  return total > 0 ? ownTokensPerSecond / total : null;
}

/** Two changes as one, the later on top. */
export function mergeChanges(first: AppChange, second: AppChange): AppChange {
  const earlier = second.reset ? { log: first.append.log } : first.append;
  return {
    set: { ...first.set, ...second.set },
    append: {
      epochs: join(earlier.epochs, second.append.epochs),
      evaluations: join(earlier.evaluations, second.append.evaluations),
      runLog: join(earlier.runLog, second.append.runLog),
      log: join(earlier.log, second.append.log),
    },
    reset: first.reset || second.reset,
  };
}

function join<T>(first: readonly T[] | undefined, second: readonly T[] | undefined): readonly T[] | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return [...first, ...second];
}
