/**
 * The daemon: composes identity, settings, miner, policy and local API into the one process that works on this machine.
 * Signals, terminals and exit codes are the business of the program around it.
 */
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import type { DeviceChoice } from "../protocol/device-report.ts";
import type { Identity } from "../protocol/identity.ts";
import type { DaemonAddress, LocalApi } from "../protocol/local-api.ts";
import type { ConnectionRules, MachineView, ProcessView } from "../protocol/machine-view.ts";
import type { OwnerCommand } from "../protocol/owner-commands.ts";
import { readPayoutAddress } from "../protocol/payout-address.ts";
import { ConnectionRulesInForce } from "./connection-rules.ts";
import { runDoctor } from "./doctor.ts";
import { HotkeyInForce } from "./hotkey.ts";
import type { KeyStores } from "./key-store/key-store.ts";
import { openKeyStores } from "./key-store/open-key-stores.ts";
import { createToken } from "./local-api/access.ts";
import { initialState, logChange, machineChange } from "./local-api/app-state.ts";
import { createFeed, type Feed } from "./local-api/feed.ts";
import { type Handlers, localApiOf } from "./local-api/handlers.ts";
import { KnownRuns } from "./local-api/known-runs.ts";
import { type LocalApiServer, startLocalApiServer } from "./local-api/server.ts";
import { createLog, type Log } from "./log.ts";
import { type ComputingDevice, reportDevice } from "./machine.ts";
import { createMeter, type Meter } from "./meter.ts";
import type { Miner, MinerEvent, MinerOptions } from "./miner.ts";
import { createPolicyLoop, type PolicyLoop } from "./policy-loop.ts";
import { computingDevice } from "./probe/computing-device.ts";
import { probeMetered } from "./probe/metered.ts";
import { removeDaemonAddress, tokenLeftBehind, writeDaemonAddress } from "./store/daemon-address.ts";
import { loadIdentity } from "./store/identity-file.ts";
import { type DaemonSettings, storeSettings } from "./store/settings.ts";
import { openStateDatabase, type StateDatabase } from "./store/state-database.ts";
import { openStateFolder } from "./store/state-folder.ts";

/** What work in flight may take when the daemon ends; a miner that hangs is left behind a second later. */
const handOverMs = 5000;
const overdueMs = handOverMs + 1000;

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

export interface RunningDaemon {
  readonly address: DaemonAddress;
  /** The same API without a socket, for the program around the daemon. */
  readonly api: LocalApi;
  /** Resolves when the daemon has ended, by `close` or by a client's `stop`. */
  readonly closed: Promise<void>;
  /** Hands work over, at most 5 s long, and ends. */
  close(): Promise<void>;
}

/** Everything that a running daemon consists of. */
interface Parts {
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

/**
 * Rejects with `FailureError`: already-running, port-in-use, state-corrupt, file-unreadable, disk-full; unreachable or timed-out when
 * its key is in the operating system's key store, and that cannot be used.
 */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  openStateFolder(options.stateFolder);
  const database = openStateDatabase(options.stateFolder);
  try {
    const { stateFolder, settings, device: told = null, echo } = options;
    const log = createLog({ file: join(stateFolder, "daemon.log"), echo });
    const identity = await loadIdentity(stateFolder, keyStoresOf(options));
    const computing = await computingDevice({ stateFolder, threads: settings.threads, told, log });
    return await run(compose({ options, database, log }, identity, computing));
  } catch (error) {
    database.close();
    throw error;
  }
}

function keyStoresOf({ keyStores, settings }: DaemonOptions): KeyStores {
  return keyStores ?? openKeyStores(settings.keyStore);
}

type Found = Pick<Parts, "options" | "database" | "log">;

function compose(found: Found, identity: Identity, computing: ComputingDevice): Parts {
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

async function run(parts: Parts): Promise<RunningDaemon> {
  const { options, log, miner, feed, policy, meter } = parts;
  const { stateFolder, settings, uiFolder } = options;
  const ended = Promise.withResolvers<void>();
  let closing = false;

  function close(): Promise<void> {
    if (!closing) {
      closing = true;
      end(parts, server).then(ended.resolve, ended.reject);
    }
    return ended.promise;
  }

  const handlers = createHandlers(parts, () => void close());
  const token = tokenLeftBehind(stateFolder) ?? createToken();
  const onBug = (what: string, error: unknown) => log.write("error", "api", `${what}: ${describe(error)}`);
  const server = await startLocalApiServer({ handlers, feed, token, port: settings.apiPort, uiFolder, onBug });
  const address = { url: server.url, token, pid: process.pid, version: manifest.version };
  // What lies there already was left by a daemon that was killed: the lock on the state folder is ours.
  try {
    writeDaemonAddress(stateFolder, address);
  } catch (error) {
    await server.close();
    throw error;
  }

  log.onLine((line) => {
    if (line.level !== "debug") feed.apply(logChange(line));
  });
  miner.onEvent((event) => show(event, parts));
  log.write("info", "daemon", `version ${manifest.version}, process ${process.pid}, at ${server.url}`);
  await policy.start();
  meter.start();
  miner.open();
  return { address, api: localApiOf(handlers, feed), closed: ended.promise, close };
}

function show(event: MinerEvent, { feed, runs, meter, log }: Parts): void {
  if (event.type === "assigned") meter.assigned(event.runId);
  if (event.type === "receipt") void keep(event, meter, log);
  else if (event.type === "state") {
    const { state, network } = event;
    feed.apply(machineChange(feed.view.state, { state, network }));
  } else feed.apply(runs.take(event));
}

async function keep(event: Extract<MinerEvent, { type: "receipt" }>, meter: Meter, log: Log): Promise<void> {
  try {
    await meter.addReceipt(event.receipt, event.signature);
  } catch (error) {
    // A full disk, most likely. The network keeps what it granted; training must go on.
    log.write("error", "daemon", `a receipt could not be stored: ${describe(error)}`);
  }
}

async function end(
  { options, database, log, miner, feed, policy, meter }: Parts,
  server: LocalApiServer,
): Promise<void> {
  log.write("info", "daemon", "handing work over");
  policy.stop();
  const problem = await settledWithin(overdueMs, miner.close(handOverMs));
  if (problem !== null) log.write("error", "daemon", `the miner did not end well: ${problem}`);
  meter.stop();
  log.write("info", "daemon", "ends");
  await server.close();
  feed.close();
  removeDaemonAddress(options.stateFolder);
  database.close();
}

function createHandlers({ options, log, miner, feed, runs, policy, rules, hotkey }: Parts, stop: () => void): Handlers {
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

/** Null when `work` was done within `timeoutMs`, else what went wrong. */
async function settledWithin(timeoutMs: number, work: Promise<void>): Promise<string | null> {
  const { promise: late, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => resolve(`it took longer than ${timeoutMs} ms`), timeoutMs);
  try {
    return await Promise.race([work.then(() => null, describe), late]);
  } finally {
    clearTimeout(timer);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
