/** A network under test: an orchestrator, and miners that each reach it over a link of their own that can be spoilt. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runArguments } from "../../../src/cli/run-options.ts";
import type { PresetName } from "../../../src/compute/model/presets.ts";
import { openKeyStores } from "../../../src/miner/key-store/open-key-stores.ts";
import { loadIdentity } from "../../../src/miner/store/identity-file.ts";
import { openStateFolder } from "../../../src/miner/store/state-folder.ts";
import { signedHeaderBytes } from "../../../src/protocol/control-channel.ts";
import { isFrame } from "../../../src/protocol/frames.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import { controlMarker, decodeClientMessage } from "../../../src/protocol/messages.ts";
import { ChaosProxy } from "../../lab/chaos/chaos-proxy.ts";
import { ServiceProcess } from "../shared/service-process.ts";
import { RunWatcher } from "./run-watcher.ts";
import { SmallDisk } from "./small-disk.ts";
import { WorkBook } from "./work-book.ts";

export interface SwarmOptions {
  readonly preset: PresetName;
  readonly stages: number;
  readonly replicas: number;
  readonly seed: number;
}

export interface SwarmMiner {
  readonly name: string;
  readonly minerId: MinerId;
  readonly service: ServiceProcess;
  readonly link: ChaosProxy;
}

/** Nothing of a swarm stays in the key store of who measures it. */
const keyStore = "file";
const minerGraceMs = 3_000;
const orchestratorGraceMs = 5_000;

export class FaultSwarm {
  readonly options: SwarmOptions;
  readonly folder: string;
  readonly book = new WorkBook();
  readonly orchestrator: ServiceProcess;
  /** In order of arrival, those that left included. */
  readonly miners: SwarmMiner[] = [];
  readonly #listening = Promise.withResolvers<URL>();
  #url: URL | null = null;
  #watcher: RunWatcher | null = null;

  /** Of the orchestrator's state, where it was asked for. */
  #disk: SmallDisk | null = null;
  /** When this process is ended in the middle, nothing of the swarm stays behind. */
  readonly #abandon = () => {
    for (const { service } of this.miners) service.kill();
    this.orchestrator.kill();
    this.dispose();
  };

  private constructor(options: SwarmOptions, folder: string) {
    this.options = options;
    this.folder = folder;
    process.once("exit", this.#abandon);
    this.orchestrator = new ServiceProcess({
      args: () => this.#orchestratorArguments(),
      logFile: join(folder, "logs", "orchestrator.log"),
      onMessage: (message) => {
        if (message.type === "listening") this.#listening.resolve(new URL(message.url));
        if (message.type === "failed") this.#listening.reject(new Error(message.failure.message));
      },
    });
  }

  static async start(options: SwarmOptions, { smallDisk = false } = {}): Promise<FaultSwarm> {
    const swarm = new FaultSwarm(options, mkdtempSync(join(tmpdir(), "train-at-home-faults-")));
    mkdirSync(join(swarm.folder, "logs"));
    mkdirSync(swarm.orchestratorFolder);
    if (smallDisk) swarm.#disk = SmallDisk.mount(swarm.orchestratorFolder);
    swarm.orchestrator.start();
    swarm.#url = await swarm.#listening.promise;
    swarm.#watcher = new RunWatcher(swarm.#url);
    for (let index = 0; index < options.stages * options.replicas; index++) await swarm.addMiner();
    return swarm;
  }

  get orchestratorFolder(): string {
    return join(this.folder, "orchestrator");
  }

  get disk(): SmallDisk | null {
    return this.#disk;
  }

  get watcher(): RunWatcher {
    if (this.#watcher === null) throw new Error("the network does not run yet");
    return this.#watcher;
  }

  /** Under a new key. */
  async addMiner(): Promise<SwarmMiner> {
    const name = `miner ${this.miners.length + 1}`;
    const folder = join(this.folder, name.replace(" ", "-"));
    openStateFolder(folder);
    const { minerId } = await loadIdentity(folder, openKeyStores(keyStore));
    const onSent = (bytes: Uint8Array) => this.#record(minerId, bytes);
    const link = await ChaosProxy.listen({ target: this.#gateway, seed: this.options.seed, name, onSent });
    const device = ["--backend", "native", "--precision", "f32", "--threads", "1", "--key-store", keyStore];
    const service = new ServiceProcess({
      args: () => ["mine", "--network", link.url.href, "--name", name, ...device, "--api-port", "0", "--state", folder],
      logFile: join(this.folder, "logs", `${name.replace(" ", "-")}.log`),
    });
    const miner = { name, minerId, service, link };
    this.miners.push(miner);
    service.start();
    return miner;
  }

  /** As the run's view has it, without those that are lost. */
  replicasOf(stage: number): readonly SwarmMiner[] {
    const replicas = this.watcher.view?.stages[stage]?.replicas ?? [];
    const live = replicas.filter(({ state }) => state !== "lost").map(({ minerId }) => minerId);
    return this.miners.filter(({ minerId }) => live.includes(minerId));
  }

  /** Ends all processes in good order; what they have written stays until `dispose`. */
  async stop(): Promise<void> {
    this.#watcher?.close();
    await Promise.all(this.miners.map(({ service }) => service.stop(minerGraceMs)));
    await this.orchestrator.stop(orchestratorGraceMs);
    await Promise.all(this.miners.map(({ link }) => link.close()));
  }

  /** Leaves what was written where it is, to be looked at. */
  keep(): void {
    process.off("exit", this.#abandon);
  }

  dispose(): void {
    this.keep();
    this.#disk?.unmount();
    rmSync(this.folder, { recursive: true, force: true });
  }

  get #gateway(): URL {
    if (this.#url === null) throw new Error("miners start after the orchestrator listens");
    return this.#url;
  }

  #orchestratorArguments(): readonly string[] {
    // Started again, it listens where the miners' links lead.
    // What goes directly would go around the trouble that the scenarios make.
    const address = ["--host", "127.0.0.1", "--port", this.#url?.port ?? "0", "--direct", "off"];
    return ["network", "serve", ...address, "--state", this.orchestratorFolder, ...runArguments(this.options)];
  }

  #record(minerId: MinerId, bytes: Uint8Array): void {
    // The session's first message, `hello`, is the only one that is not signed.
    if (isFrame(bytes) || bytes[0] === controlMarker) return;
    const message = decodeClientMessage(bytes.subarray(signedHeaderBytes));
    if (message.type === "progress") this.book.record(minerId, message, performance.now());
  }
}
