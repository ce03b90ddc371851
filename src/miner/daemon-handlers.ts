/** What a daemon does when it is asked through its API. */
import type { ConnectionRules, MachineView, ProcessView } from "../protocol/machine-view.ts";
import type { OwnerCommand } from "../protocol/owner-commands.ts";
import { readPayoutAddress } from "../protocol/payout-address.ts";
import { type DaemonParts, keyStoresOf } from "./daemon-parts.ts";
import { runDoctor } from "./doctor.ts";
import { machineChange } from "./local-api/app-state.ts";
import type { Handlers } from "./local-api/handlers.ts";
import type { Miner } from "./miner.ts";
import { storeSettings } from "./store/settings.ts";

export function createHandlers(
  { options, log, miner, feed, runs, policy, rules, hotkey }: DaemonParts,
  stop: () => void,
): Handlers {
  function setIntent(intent: MachineView["intent"]): MachineView {
    policy.setIntent(intent);
    feed.apply(machineChange(feed.view.state, { intent }));
    return feed.view.state.machine;
  }
  function setConnectionRules(changes: Partial<ConnectionRules>): MachineView {
    rules.change(changes);
    miner.limit(rules.limits);
    policy.apply();
    feed.apply(machineChange(feed.view.state, { connection: rules.rules }));
    return feed.view.state.machine;
  }
  /** Stored first: what cannot be remembered is not told the network either. */
  function setPayoutAddress(text: string | null): MachineView {
    const payoutAddress = text === null ? null : readPayoutAddress(text);
    storeSettings(options.stateFolder, { payoutAddress });
    miner.setPayoutAddress(payoutAddress);
    feed.apply(machineChange(feed.view.state, { payoutAddress }));
    return feed.view.state.machine;
  }
  /** Stored first, too. */
  function changeHotkey(change: () => void): MachineView {
    change();
    miner.setHotkey(hotkey.proof);
    feed.apply(machineChange(feed.view.state, { hotkey: hotkey.view }));
    return feed.view.state.machine;
  }
  async function obey(command: OwnerCommand): Promise<Record<string, never>> {
    await miner.command(command);
    return {};
  }
  return {
    snapshot: () => ({ state: feed.view.state, lists: feed.view.lists }),
    start: () => setIntent("run"),
    pause: () => setIntent("pause"),
    limit: (changes) => setConnectionRules(changes),
    payout: ({ address }) => setPayoutAddress(address),
    "hotkey-statement": () => hotkey.statement(miner.networkId, Date.now()),
    "prove-hotkey": (claim) => changeHotkey(() => hotkey.prove(claim, miner.networkId, Date.now())),
    "forget-hotkey": () => changeHotkey(() => hotkey.forget()),
    "run-details": ({ runId }) => runs.details(runId),
    "create-run": async (run) => ({ runId: await miner.command({ type: "create-run", run }) }),
    "pause-run": ({ runId }) => obey({ type: "steer-run", runId, action: "pause" }),
    "resume-run": ({ runId }) => obey({ type: "steer-run", runId, action: "resume" }),
    "stop-run": ({ runId }) => obey({ type: "steer-run", runId, action: "finish" }),
    "reweight-run": ({ runId, weight }) => obey({ type: "reweight-run", runId, weight }),
    "delete-run": ({ runId }) => obey({ type: "delete-run", runId }),
    logs: ({ lines, level }) => [...log.last(lines, level)],
    doctor() {
      const { stateFolder, settings } = options;
      const { machine, traffic } = feed.view.state;
      const connection = { rules: machine.connection, metered: machine.metered, traffic };
      return runDoctor({ ...settings, stateFolder, keyStores: keyStoresOf(options), work: miner.work, connection });
    },
    processes: () => [...(options.processes?.() ?? ownProcesses(options.settings.name, miner))],
    stop() {
      stop(); // the reply goes out first: handing work over takes longer
      return {};
    },
  };
}

function ownProcesses(name: string, miner: Miner): readonly ProcessView[] {
  const worker = (pid: number): ProcessView => ({ role: "compute-worker", name, pid, alive: true });
  return [{ role: "this-machine", name, pid: process.pid, alive: true }, ...miner.workers.map(worker)];
}
