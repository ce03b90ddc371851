/** Keeps the miner at what the policy allows: on every change of intent at once, on changes of the machine within seconds. */
import type { MachineView } from "../protocol/local-api.ts";
import type { Log } from "./log.ts";
import { readSensors } from "./machine.ts";
import type { Miner } from "./miner.ts";
import { type Decision, decide } from "./policy.ts";
import { loadIntent, storeIntent } from "./store/intent-file.ts";

const sensorsMs = 5000;

export interface PolicyLoop {
  /** What the person asked for last, in this life of the daemon or an earlier one. */
  readonly intent: MachineView["intent"];
  /** Stores the intent, then acts on it. Throws `FailureError` disk-full, file-unreadable: then nothing has changed. */
  setIntent(intent: MachineView["intent"]): void;
  start(): void;
  stop(): void;
}

export function createPolicyLoop(
  miner: Miner,
  stateFolder: string,
  initialIntent: MachineView["intent"],
  log: Log,
): PolicyLoop {
  let intent = loadIntent(stateFolder, initialIntent, (text) => log.write("warning", "daemon", text));
  let decision: Decision | null = null;
  let timer: NodeJS.Timeout | undefined;

  function apply(): void {
    const next = decide(intent, readSensors(stateFolder), Date.now(), decision);
    const changed = next.kind !== decision?.kind || next.reason !== decision.reason;
    decision = next;
    if (!changed) return;
    log.write("info", "policy", next.kind === "run" ? "the miner may work" : next.reason);
    miner.setActive(next.kind === "run", next.reason);
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
    start() {
      apply();
      timer = setInterval(apply, sensorsMs);
    },
    stop: () => clearInterval(timer),
  };
}
