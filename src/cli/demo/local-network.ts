/**
 * A whole network on this computer, as separate processes: one orchestrator, this computer's own miner, and local peers for the
 * remaining places. The supervisor starts them, starts them again when they die, and ends them all.
 */
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { ownMinerFolderName } from "../../miner/find-daemon.ts";
import { openKeyStores } from "../../miner/key-store/open-key-stores.ts";
import { loadIdentity } from "../../miner/store/identity-file.ts";
import { openStateFolder } from "../../miner/store/state-folder.ts";
import type { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { ProcessView } from "../../protocol/machine-view.ts";
import { orchestratorFolderName } from "../network-folders.ts";
import type { ChildMessage } from "../process-messages.ts";
import { type RunOptions, runArguments } from "../run-options.ts";
import { type ProcessSpec, SupervisedProcess } from "./supervised-process.ts";

/** Together under the 5 s in which everything has to be gone: miners hand over first, then the orchestrator closes its log. */
const minerGraceMs = 2_500;
const orchestratorGraceMs = 1_200;

/** What people call this machine: a miner's name has at most 64 characters. */
const thisComputer = hostname().slice(0, 64) || "this computer";

/** A demo's keys go with its folder, and earn what counts in that demo only. */
const keyStore = "file";

export interface LocalNetworkOptions {
  readonly folder: string;
  readonly run: RunOptions & { readonly stages: number };
  readonly host: string;
  /** Of the gateway; 0: any free one. */
  readonly port: number;
  /** Of this computer's daemon; 0: any free one. */
  readonly apiPort: number;
  /** Once, when miners can connect. */
  readonly onListening: (url: URL) => void;
  readonly onNote: (text: string) => void;
  /** The network cannot go on. */
  readonly onFailed: (failure: FailureError) => void;
}

export class LocalNetwork {
  readonly #options: LocalNetworkOptions;
  readonly #orchestrator: SupervisedProcess;
  #miners: readonly SupervisedProcess[] = [];
  #url: URL | undefined;
  /** This computer's own miner: whoever uses its dashboard steers the run. */
  #owner: MinerId | undefined;
  #apiPort: number;

  constructor(options: LocalNetworkOptions) {
    this.#options = options;
    this.#apiPort = options.apiPort;
    this.#orchestrator = this.#createProcess("orchestrator", "orchestrator", "orchestrator", () =>
      this.#orchestratorArguments(),
    );
  }

  /** ws:// address of the gateway; undefined until the orchestrator listens. */
  get url(): URL | undefined {
    return this.#url;
  }

  /** Where this computer's own miner keeps its state, and its daemon.json. */
  get ownMinerFolder(): string {
    return this.#path(ownMinerFolderName);
  }

  get processes(): readonly ProcessView[] {
    return this.#all.flatMap((process) => process.processes);
  }

  get restarts(): number {
    return this.#all.reduce((sum, process) => sum + process.restarts, 0);
  }

  /** When this computer's daemon has to be started again, open windows look for it where it was. */
  keepApiPort(port: number): void {
    this.#apiPort = port;
  }

  /** Rejects with `FailureError` state-corrupt, file-unreadable, disk-full. */
  async start(): Promise<void> {
    mkdirSync(this.#path("logs"), { recursive: true, mode: 0o700 });
    openStateFolder(this.ownMinerFolder);
    this.#owner = (await loadIdentity(this.ownMinerFolder, openKeyStores(keyStore))).minerId;
    this.#orchestrator.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#miners.map((miner) => miner.stop(minerGraceMs)));
    await this.#orchestrator.stop(orchestratorGraceMs);
  }

  get #all(): readonly SupervisedProcess[] {
    return [this.#orchestrator, ...this.#miners];
  }

  #createProcess(
    role: ProcessSpec["role"],
    name: string,
    folder: string,
    args: ProcessSpec["args"],
  ): SupervisedProcess {
    const logFile = this.#path("logs", `${folder}.log`);
    return new SupervisedProcess(
      { role, name, args, logFile },
      {
        onMessage: (message) => this.#receive(message),
        onProcesses: () => this.#tellOwnMiner(),
        onNote: this.#options.onNote,
        onGivenUp: (failure) => {
          // The network goes on without a local peer, but not without its orchestrator or this computer's own miner.
          if (role === "local-peer") this.#options.onNote(`${failure.failure.message}. ${failure.failure.action}`);
          else this.#options.onFailed(failure);
        },
      },
    );
  }

  #receive(message: ChildMessage): void {
    // Only once: an orchestrator that was started again listens at the same address, where the miners look for it.
    if (message.type === "listening" && this.#url === undefined) this.#startMiners(new URL(message.url));
  }

  #startMiners(url: URL): void {
    this.#url = url;
    const { run, onListening } = this.#options;
    onListening(url);
    const peers = Array.from({ length: run.stages * run.replicas - 1 }, (_, index) => `local peer ${index + 1}`);
    this.#miners = [
      this.#createProcess("this-machine", thisComputer, ownMinerFolderName, () =>
        this.#minerArguments(ownMinerFolderName, thisComputer, this.#apiPort),
      ),
      ...peers.map((name) => {
        const folder = name.replaceAll(" ", "-");
        return this.#createProcess("local-peer", name, folder, () => this.#minerArguments(folder, name, 0));
      }),
    ];
    for (const miner of this.#miners) miner.start();
  }

  #orchestratorArguments(): readonly string[] {
    const { host, port, run } = this.#options;
    const address = ["--host", host, "--port", this.#url?.port ?? String(port)];
    // On one computer nothing is won by going around the gateway.
    const direct = host === "127.0.0.1" ? ["--direct", "off"] : [];
    const owner = this.#owner === undefined ? [] : ["--owner", this.#owner];
    return [
      "network",
      "serve",
      ...address,
      ...direct,
      ...owner,
      "--state",
      this.#path(orchestratorFolderName),
      ...runArguments(run),
    ];
  }

  #minerArguments(folder: string, name: string, apiPort: number): readonly string[] {
    const network = ["--network", loopbackAddress(this.#url), "--name", name];
    // Six miners need no probe to share one processor, and all compute alike, so that the same demo gives the same numbers.
    const device = ["--backend", "native", "--precision", "f32", "--threads", "1"];
    // As they share it, a second stage would make none of them faster.
    const limits = ["--maximum-stages", "1"];
    const own = ["--api-port", String(apiPort), "--key-store", keyStore, "--state", this.#path(folder)];
    return ["mine", "--supervised", ...network, ...device, ...limits, ...own];
  }

  #tellOwnMiner(): void {
    this.#miners[0]?.send({ type: "processes", processes: [...this.processes] });
  }

  #path(...names: readonly string[]): string {
    return join(this.#options.folder, ...names);
  }
}

function loopbackAddress(url: URL | undefined): string {
  if (url === undefined) throw new Error("miners start after the orchestrator listens");
  return `ws://127.0.0.1:${url.port}`;
}
