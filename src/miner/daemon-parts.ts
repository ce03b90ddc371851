/** What a daemon consists of, and how its parts are put together. */
import manifest from "../../package.json" with { type: "json" };
import type { DeviceChoice } from "../protocol/device-report.ts";
import type { Identity } from "../protocol/identity.ts";
import type { MachineView, ProcessView } from "../protocol/machine-view.ts";
import { ConnectionRulesInForce } from "./connection-rules.ts";
import { HotkeyInForce } from "./hotkey.ts";
import type { KeyStores } from "./key-store/key-store.ts";
import { openKeyStores } from "./key-store/open-key-stores.ts";
import { initialState, machineChange } from "./local-api/app-state.ts";
import { createFeed, type Feed } from "./local-api/feed.ts";
import { KnownRuns } from "./local-api/known-runs.ts";
import type { Log } from "./log.ts";
import { type ComputingDevice, reportDevice } from "./machine.ts";
import { createMeter, type Meter } from "./meter.ts";
import type { Miner, MinerOptions } from "./miner.ts";
import { createPolicyLoop, type PolicyLoop } from "./policy-loop.ts";
import { probeMetered } from "./probe/metered.ts";
import type { DaemonSettings } from "./store/settings.ts";
import type { StateDatabase } from "./store/state-database.ts";

export interface DaemonOptions {
  readonly stateFolder: string;
  readonly settings: DaemonSettings;
  /** What the compute workers run on; the fastest that passes the probe unless given. */
  readonly device?: DeviceChoice;
  readonly createMiner: (options: MinerOptions) => Miner;
  /** Where its key may lie; this computer's unless given. */
  readonly keyStores?: KeyStores;
  /** What to do on a machine where nobody has asked for anything yet; "run" unless given. */
  readonly initialIntent?: MachineView["intent"];
  /** The built dashboard; without it there is only the API. */
  readonly uiFolder?: string;
  /** Given by a supervisor that started more than this daemon. */
  readonly processes?: () => readonly ProcessView[];
  /** Whether the connection is metered; the operating system is asked unless given. */
  readonly probeMetered?: () => Promise<boolean | null>;
  /** Gets each log line: a terminal. */
  readonly echo?: (line: string) => void;
}

/** Everything that a running daemon consists of. */
export interface DaemonParts {
  readonly options: DaemonOptions;
  readonly database: StateDatabase;
  readonly log: Log;
  readonly miner: Miner;
  readonly feed: Feed;
  readonly runs: KnownRuns;
  readonly policy: PolicyLoop;
  readonly rules: ConnectionRulesInForce;
  readonly hotkey: HotkeyInForce;
  readonly meter: Meter;
}

type Found = Pick<DaemonParts, "options" | "database" | "log">;

export function compose(found: Found, identity: Identity, computing: ComputingDevice): DaemonParts {
  const { options, database, log } = found;
  const { stateFolder, settings, createMiner, initialIntent = "run" } = options;
  const { name, networkUrl, threads, payoutAddress } = settings;
  const device = reportDevice(settings, computing);
  const rules = new ConnectionRulesInForce(settings, stateFolder);
  const limits = rules.limits;
  const hotkey = new HotkeyInForce(stateFolder, identity.minerId, (text) => log.write("warning", "daemon", text));
  const told = { networkUrl, limits, payoutAddress, hotkey: hotkey.proof, direct: settings.direct === "on" };
  const miner = createMiner({ identity, name, stateFolder, device, threads, ...told, log: log.write });
  const policy = createPolicyLoop({
    miner,
    stateFolder,
    initialIntent,
    connectionRules: () => rules.rules,
    probeMetered: options.probeMetered ?? (() => probeMetered(networkUrl)),
    onMetered: (metered) => feed.apply(machineChange(feed.view.state, { metered })),
    log,
  });
  const feed = createFeed(
    initialState({
      minerId: identity.minerId,
      name,
      version: manifest.version,
      pid: process.pid,
      startedAtMs: Date.now(),
      device,
      intent: policy.intent,
      state: miner.state,
      network: miner.network,
      workers: miner.workers,
      connection: rules.rules,
      metered: null,
      payoutAddress,
      hotkey: hotkey.view,
    }),
  );
  return {
    ...found,
    miner,
    feed,
    runs: new KnownRuns(),
    policy,
    rules,
    hotkey,
    meter: createMeter(miner, feed, database, log),
  };
}

export function keyStoresOf({ keyStores, settings }: DaemonOptions): KeyStores {
  return keyStores ?? openKeyStores(settings.keyStore);
}
