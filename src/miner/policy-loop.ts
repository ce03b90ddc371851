/** Keeps the miner at what the policy allows: on every change of what is asked at once, on changes of the machine within seconds. */
import type { ConnectionRules, MachineView } from "../protocol/machine-view.ts";
import type { Log } from "./log.ts";
import { readSensors } from "./machine.ts";
import type { Miner } from "./miner.ts";
import { type Decision, decide } from "./policy.ts";
import { loadIntent, storeIntent } from "./store/intent-file.ts";

const sensorsMs = 5000;
const meteredMs = 60_000;

export interface PolicyLoopOptions {
  readonly miner: Pick<Miner, "setActive">;
  readonly stateFolder: string;
  /** Where nobody has asked for anything yet. */
  readonly initialIntent: MachineView["intent"];
  /** As they are now. */
  readonly connectionRules: () => ConnectionRules;
  readonly probeMetered: () => Promise<boolean | null>;
  /** What the operating system says of the connection now. */
  readonly onMetered: (metered: boolean | null) => void;
  readonly log: Log;
}

export interface PolicyLoop {
  /** What the person asked for last, in this life of the daemon or an earlier one. */
  readonly intent: MachineView["intent"];
  /** Stores the intent, then acts on it. Throws `FailureError` disk-full, file-unreadable: then nothing has changed. */
  setIntent(intent: MachineView["intent"]): void;
  /** To be called when the connection rules have changed. */
  apply(): void;
  /** Resolves when the first decision is made. */
  start(): Promise<void>;
  stop(): void;
}

export function createPolicyLoop(options: PolicyLoopOptions): PolicyLoop {
  const { miner, stateFolder, initialIntent, connectionRules, probeMetered, onMetered, log } = options;
  let intent = loadIntent(stateFolder, initialIntent, (text) => log.write("warning", "daemon", text));
  let metered: boolean | null = null;
  let decision: Decision | null = null;
  let stopped = false;
  let timers: readonly NodeJS.Timeout[] = [];

  function apply(): void {
    const wishes = { intent, onMetered: connectionRules().onMetered };
    const sensors = { ...readSensors(stateFolder), metered };
    const next = decide(wishes, sensors, Date.now(), decision);
    const changed = next.kind !== decision?.kind || next.reason !== decision.reason;
    decision = next;
    if (!changed) return;
    log.write("info", "policy", next.kind === "run" ? "the miner may work" : next.reason);
    miner.setActive(next.kind === "run", next.reason);
  }

  async function lookAtConnection(): Promise<void> {
    const answer = await probeMetered();
    if (stopped) return;
    if (answer !== metered) onMetered(answer);
    metered = answer;
    apply();
  }

  return {
    get intent() {
      return intent;
    },
    setIntent(asked) {
      storeIntent(stateFolder, asked);
      intent = asked;
      apply();
    },
    apply,
    async start() {
      await lookAtConnection();
      if (stopped) return;
      timers = [setInterval(apply, sensorsMs), setInterval(() => void lookAtConnection(), meteredMs)];
    },
    stop() {
      stopped = true;
      for (const timer of timers) clearInterval(timer);
    },
  };
}
