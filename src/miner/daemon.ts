/**
 * The daemon: composes identity, settings, miner, policy and local API into the one process that works on this machine.
 * Signals, terminals and exit codes are the business of the program around it.
 */
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import type { DaemonAddress, LocalApi } from "../protocol/local-api.ts";
import { createHandlers } from "./daemon-handlers.ts";
import { compose, type DaemonOptions, type DaemonParts, keyStoresOf } from "./daemon-parts.ts";
import { createToken } from "./local-api/access.ts";
import { logChange, machineChange } from "./local-api/app-state.ts";
import { localApiOf } from "./local-api/handlers.ts";
import { type LocalApiServer, startLocalApiServer } from "./local-api/server.ts";
import { createLog, type Log } from "./log.ts";
import type { Meter } from "./meter.ts";
import type { MinerEvent } from "./miner.ts";
import { computingDevice } from "./probe/computing-device.ts";
import { removeDaemonAddress, tokenLeftBehind, writeDaemonAddress } from "./store/daemon-address.ts";
import { loadIdentity } from "./store/identity-file.ts";
import { openStateDatabase } from "./store/state-database.ts";
import { openStateFolder } from "./store/state-folder.ts";

/** What work in flight may take when the daemon ends; a miner that hangs is left behind a second later. */
const handOverMs = 5000;
const overdueMs = handOverMs + 1000;

export interface RunningDaemon {
  readonly address: DaemonAddress;
  /** The same API without a socket, for the program around the daemon. */
  readonly api: LocalApi;
  /** Resolves when the daemon has ended, by `close` or by a client's `stop`. */
  readonly closed: Promise<void>;
  /** Hands work over, at most 5 s long, and ends. */
  close(): Promise<void>;
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

async function run(parts: DaemonParts): Promise<RunningDaemon> {
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

function show(event: MinerEvent, { feed, runs, meter, log }: DaemonParts): void {
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
  { options, database, log, miner, feed, policy, meter }: DaemonParts,
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
