/** `tah demo`: runs a local network until the run has what was asked for, the person stops it, or it cannot go on. */
import { presets } from "../../compute/model/presets.ts";
import { answeringDaemonIn } from "../../miner/find-daemon.ts";
import type { AppView } from "../../protocol/app-view.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { DaemonAddress } from "../../protocol/local-api.ts";
import { untilStopped } from "../lifetime.ts";
import type { Output } from "../output.ts";
import type { DemoResult } from "../output-schemas.ts";
import { defaultNetworkPort, type RunOptions } from "../run-options.ts";
import { type DemoFolder, openDemoFolder } from "./demo-folder.ts";
import { demoResult } from "./demo-result.ts";
import { lanAddresses } from "./lan-addresses.ts";
import { LocalNetwork } from "./local-network.ts";
import { type OpenedApp, openApp } from "./open-app.ts";
import { progressLine } from "./progress-line.ts";
import { followRun } from "./run-follower.ts";
import { extendRecord, isEvaluated, type RunRecord } from "./run-record.ts";

const progressEveryMs = { terminal: 1_000, log: 10_000 };
/** How long a finished run's last evaluation is waited for. */
const evaluationPatienceMs = 300_000;

export interface DemoOptions extends RunOptions {
  readonly json?: boolean;
  readonly state?: string;
  readonly fresh?: boolean;
  /** Stop so long after training began. */
  readonly minutes?: number;
  /** Of the gateway; undefined: one that others know with `lan`, else any free one. */
  readonly port?: number;
  /** Let other computers of the local network join. */
  readonly lan?: boolean;
  readonly open?: boolean;
  readonly requireElectron?: boolean;
}

/**
 * Resolves when all its processes have ended; with null when the network ran already and was only shown. Rejects with the
 * `FailureError` that ended it: already-running, cancelled, or a process's own.
 */
export async function runDemo(options: DemoOptions, output: Output): Promise<DemoResult | null> {
  const run = { ...options, stages: options.stages ?? presets[options.preset].stages };
  const { state, fresh = false, json = false } = options;
  const folder = openDemoFolder({ run, state, fresh, temporary: json });
  const demo = new Demo(options, run, folder, output);
  try {
    return await demo.run();
  } finally {
    await demo.end();
    folder.dispose();
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #output: Output;
  readonly #folder: DemoFolder;
  readonly #network: LocalNetwork;
  readonly #over = Promise.withResolvers<string>();
  readonly #following = new AbortController();
  #record: RunRecord | undefined;
  #view: AppView | undefined;
  #app: OpenedApp | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #patience: NodeJS.Timeout | undefined;

  constructor(options: DemoOptions, run: RunOptions & { stages: number }, folder: DemoFolder, output: Output) {
    this.#options = options;
    this.#output = output;
    this.#folder = folder;
    this.#network = new LocalNetwork({
      folder: folder.path,
      run,
      host: options.lan ? "0.0.0.0" : "127.0.0.1",
      port: options.port ?? (options.lan ? defaultNetworkPort : 0),
      apiPort: 0,
      onListening: (url) => this.#announce(url),
      onNote: (text) => output.note(text),
      onFailed: (failure) => this.#over.reject(failure),
    });
  }

  async run(): Promise<DemoResult | null> {
    const running = await answeringDaemonIn(this.#network.ownMinerFolder);
    if (running !== undefined) return this.#showRunning(running);
    this.#folder.prepare();
    this.#output.note(`Starting the local network in ${this.#folder.path}`);
    await this.#network.start();
    const events = {
      onDaemon: (address: DaemonAddress) => this.#meetDaemon(address),
      onView: (view: AppView) => this.#follow(view),
    };
    followRun(this.#network.ownMinerFolder, events, this.#following.signal).catch(this.#over.reject);
    const everyMs = this.#output.rewritesProgress ? progressEveryMs.terminal : progressEveryMs.log;
    const progress = setInterval(() => this.#showProgress(), everyMs);
    try {
      const reason = await Promise.race([this.#over.promise, untilStopped()]);
      this.#output.note(`Ending the local network: ${reason}.`);
      return this.#result();
    } finally {
      clearInterval(progress);
      clearTimeout(this.#deadline);
      clearTimeout(this.#patience);
    }
  }

  /** A second `npm start` brings the window back, and leaves the network alone. */
  async #showRunning(address: DaemonAddress): Promise<null> {
    if (!this.#options.open) throw alreadyRunning(address);
    this.#output.note(`This local network is running already (process ${address.pid}).`);
    await this.#openApp(address);
    return null;
  }

  #openApp(address: DaemonAddress): Promise<OpenedApp> {
    const { requireElectron = false } = this.#options;
    return openApp({ address, daemonFolder: this.#network.ownMinerFolder, requireElectron, output: this.#output });
  }

  async end(): Promise<void> {
    this.#following.abort();
    this.#app?.close();
    await this.#network.stop();
  }

  #announce(url: URL): void {
    if (!this.#options.lan) return;
    for (const address of lanAddresses())
      this.#output.note(`Other computers join with: npm run tah -- mine --network ws://${address}:${url.port}`);
  }

  #meetDaemon(address: DaemonAddress): void {
    this.#network.keepApiPort(Number(new URL(address.url).port));
    if (!this.#options.open || this.#app !== undefined) return;
    this.#app = { quit: new Promise(() => undefined), close: () => undefined };
    this.#openApp(address).then((app) => {
      this.#app = app;
      void app.quit.then(() => this.#over.resolve("the app was quit"));
    }, this.#over.reject);
  }

  #follow(view: AppView): void {
    this.#view = view;
    this.#record = extendRecord(this.#record, view, Date.now());
    if (this.#record === undefined) return;
    const { minutes } = this.#options;
    if (minutes !== undefined && this.#record.since !== null)
      this.#deadline ??= setTimeout(() => this.#over.resolve("the time is up"), minutes * 60_000);
    // A run with an end in sight ends the demo that was started for it; one that was only watched stays open.
    if (this.#record.run.phase !== "finished" || this.#options.open) return;
    if (isEvaluated(this.#record)) this.#over.resolve("the run has finished");
    this.#patience ??= setTimeout(
      () => this.#over.resolve("the run has finished, and its last checkpoint could not be evaluated"),
      evaluationPatienceMs,
    );
  }

  #showProgress(): void {
    if (this.#record) this.#output.progress(progressLine(this.#record, this.#view?.state.telemetry ?? null));
  }

  #result(): DemoResult {
    if (this.#record === undefined)
      throw new FailureError("cancelled", "the local network was stopped before its run began", { retry: true });
    return demoResult(this.#record, this.#options, this.#network, this.#folder.path);
  }
}

function alreadyRunning({ pid }: DaemonAddress): FailureError {
  return new FailureError("already-running", `this local network is running already (process ${pid})`, {
    action: "tah open shows it; tah demo with another --state starts a second one.",
  });
}
