/**
 * A network with honest miners in training, and a rogue among them, each a process. Miners may upload only so much, as at home: the
 * processors, which they share with their attackers here, then do not decide how fast they train.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { constants, setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { blobsFolder } from "../../../src/network/checkpoints/archive.ts";
import type { RunOptions } from "../../../src/network/run-options.ts";
import type { EpochRecord, RunView } from "../../../src/protocol/run-view.ts";
import { smallMinerFlags } from "../shared/miner-flags.ts";
import { ServiceProcess } from "../shared/service-process.ts";
import type { NetworkProcessMessage, NetworkProcessOptions } from "../swarm/network-process.ts";
import { type ProcessorSeconds, processorSeconds, workersOf } from "../swarm/processor-time.ts";
import { type RogueOptions, stopAttackers } from "./attack-orders.ts";
import type { Target } from "./attacker.ts";
import { datagramPortsOf, residentBytes } from "./process-facts.ts";

export interface HostileSwarmOptions {
  readonly run: RunOptions;
  readonly miners: number;
  readonly maxUploadMbps: number;
  readonly direct: boolean;
}

/** At the end of an epoch. */
export interface Reading {
  readonly atMs: number;
  readonly tokens: number;
  readonly processor: ProcessorSeconds;
  /** Most since the reading before: of the network, and of the miner that had most. */
  readonly peakBytes: { readonly network: number; readonly miner: number };
  readonly refusals: Readonly<Record<string, number>>;
}

const loopback = "127.0.0.1";
/** On a busy computer a swarm needs minutes to start. */
const patienceMs = 300_000;
const memoryIntervalMs = 200;
const graceMs = 5000;
const healthSchema = z.object({ refusals: z.record(z.string(), z.number()) });

export class HostileSwarm {
  readonly folder: string;
  readonly #options: HostileSwarmOptions;
  readonly #miners: ServiceProcess[] = [];
  readonly #pids = new Set<number>();
  readonly #abandon = () => this.#kill();
  #network: ChildProcess | null = null;
  #rogue: ChildProcess | null = null;
  #url: URL | null = null;
  #view: RunView | null = null;
  #ended = Promise.withResolvers<EpochRecord>();
  #memoryTimer: NodeJS.Timeout | undefined;
  #peakBytes = { network: 0, miner: 0 };

  private constructor(options: HostileSwarmOptions) {
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), "train-at-home-hostile-"));
    mkdirSync(join(this.folder, "logs"));
    process.once("exit", this.#abandon);
  }

  /** It trains: an epoch has ended. Rejects, and leaves logs and states behind, when none does. */
  static async start(options: HostileSwarmOptions): Promise<HostileSwarm> {
    const swarm = new HostileSwarm(options);
    try {
      await swarm.#serve();
      for (let index = 0; index < options.miners; index++) swarm.#startMiner(`miner-${index + 1}`);
      swarm.#forkRogue();
      await swarm.nextEpoch();
    } catch (error) {
      await swarm.close({ keep: true });
      throw error;
    }
    swarm.#memoryTimer = setInterval(() => swarm.#measureMemory(), memoryIntervalMs);
    for (const pid of swarm.#minerPids) swarm.#pids.add(pid);
    swarm.#putWorkersFirst();
    return swarm;
  }

  /** Whom attackers find there. */
  targetFrom(localAddress: string): Target {
    const [blob = ""] = readdirSync(blobsFolder(join(this.folder, "network"))).filter((name) => name.length === 64);
    return {
      port: Number(this.#address.port),
      localAddress,
      miners: this.#view?.stages.flatMap(({ replicas }) => replicas.map(({ minerId }) => minerId)) ?? [],
      datagramPorts: [this.#networkPid, ...this.#minerPids].flatMap(datagramPortsOf),
      blob,
    };
  }

  /** Processes that are not those that were started, and what the network took for bugs. */
  get crashes(): readonly string[] {
    const restarted = this.#minerPids
      .filter((pid) => !this.#pids.has(pid))
      .map((pid) => `a miner is process ${pid} now`);
    const bugs = this.#logOf("network")
      .split("\n")
      .filter((line) => line.startsWith("bug:"));
    const lost = [this.#network, this.#rogue].filter((child) => child?.exitCode !== null || child.signalCode !== null);
    return [...restarted, ...bugs, ...lost.map(() => "the network or the rogue has ended")];
  }

  /** Lines that the miners' logs have by now. */
  get logLines(): number {
    const logs = this.#miners.map((_, index) => this.#logOf(`miner-${index + 1}`));
    return logs.reduce((sum, log) => sum + log.split("\n").length, 0);
  }

  /** Resolves when an epoch ends; rejects when none does. */
  async nextEpoch(): Promise<Reading> {
    let impatience: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      impatience = setTimeout(() => reject(new Error(`no epoch ends; see ${this.folder}`)), patienceMs);
    });
    const { tokens, finishedAtMs } = await Promise.race([this.#ended.promise, tooLate]);
    clearTimeout(impatience);
    const peakBytes = this.#peakBytes;
    this.#peakBytes = { network: 0, miner: 0 };
    return { atMs: finishedAtMs, tokens, processor: this.#processor(), peakBytes, refusals: await this.#refusals() };
  }

  startRogue(): void {
    this.#rogue?.send("start");
  }

  /** Resolves with how many frames of garbage it has sent since it was started. */
  async stopRogue(): Promise<number> {
    return this.#rogue === null ? 0 : stopAttackers(this.#rogue);
  }

  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    clearInterval(this.#memoryTimer);
    process.off("exit", this.#abandon);
    await Promise.all(this.#miners.map((miner) => miner.stop(graceMs)));
    for (const child of [this.#rogue, this.#network]) {
      if (child === null || !child.connected) continue;
      const ended = once(child, "exit");
      child.disconnect();
      const impatience = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await ended;
      clearTimeout(impatience);
    }
    if (!keep) rmSync(this.folder, { recursive: true, force: true });
  }

  get #address(): URL {
    if (this.#url === null) throw new Error("the network does not listen yet");
    return this.#url;
  }

  get #networkPid(): number {
    return this.#network?.pid ?? 0;
  }

  get #minerPids(): readonly number[] {
    return this.#miners.flatMap(({ pid }) => pid ?? []);
  }

  /**
   * Workers have the lowest priority, as attackers do, who would be on other computers: those must not slow them down by computing.
   * Only root may raise a priority; without it the figures are worse than they should be.
   */
  #putWorkersFirst(): void {
    if (process.getuid?.() !== 0) return;
    for (const pid of workersOf([...this.#minerPids, ...(this.#rogue?.pid === undefined ? [] : [this.#rogue.pid])]))
      setPriority(pid, constants.priority.PRIORITY_NORMAL);
  }

  async #serve(): Promise<void> {
    const { run, direct } = this.#options;
    const options: NetworkProcessOptions = {
      host: loopback,
      port: 0,
      stateFolder: join(this.folder, "network"),
      run,
      direct: direct ? { listenHost: loopback, publicHost: loopback, firstPort: 0 } : undefined,
    };
    const listening = Promise.withResolvers<URL>();
    this.#network = this.#fork(new URL("../swarm/network-process.ts", import.meta.url), options, "network");
    this.#network.on("message", (message: NetworkProcessMessage) => {
      if (message.type === "listening") listening.resolve(new URL(message.url));
      else this.#take(message.update);
    });
    this.#network.once("exit", () => listening.reject(new Error(`the network ended at once; see ${this.folder}`)));
    this.#url = await listening.promise;
  }

  #take({ view, epochs = [] }: { readonly view?: RunView; readonly epochs?: readonly EpochRecord[] }): void {
    if (view !== undefined) this.#view = view;
    const last = epochs.at(-1);
    if (last === undefined) return;
    this.#ended.resolve(last);
    this.#ended = Promise.withResolvers();
  }

  #startMiner(name: string): void {
    const { direct, maxUploadMbps } = this.#options;
    const device = smallMinerFlags("f32");
    const way = ["--direct", direct ? "on" : "off", "--max-upload-mbps", String(maxUploadMbps)];
    const place = ["--name", name, "--api-port", "0", "--state", join(this.folder, name)];
    const miner = new ServiceProcess({
      args: () => ["mine", "--network", this.#address.href, ...device, ...way, ...place],
      logFile: join(this.folder, "logs", `${name}.log`),
    });
    this.#miners.push(miner);
    miner.start();
  }

  #forkRogue(): void {
    const { direct, maxUploadMbps } = this.#options;
    const stateFolder = join(this.folder, "rogue");
    mkdirSync(stateFolder);
    const options: RogueOptions = { networkUrl: this.#address.href, stateFolder, maxUploadMbps, direct };
    this.#rogue = this.#fork(new URL("./rogue-miner.ts", import.meta.url), options, "rogue");
  }

  #fork(entry: URL, options: object, name: string): ChildProcess {
    const log = openSync(join(this.folder, "logs", `${name}.log`), "a");
    const child = fork(fileURLToPath(entry), [JSON.stringify(options)], {
      stdio: ["ignore", log, log, "ipc"],
      execArgv: [],
    });
    closeSync(log);
    return child;
  }

  #processor(): ProcessorSeconds {
    const seconds = processorSeconds({ daemons: this.#minerPids, orchestrator: this.#networkPid, links: null });
    if (seconds === null) throw new Error("processor time is counted on Linux only");
    return seconds;
  }

  #measureMemory(): void {
    const { network, miner } = this.#peakBytes;
    this.#peakBytes = {
      network: Math.max(network, residentBytes(this.#networkPid)),
      miner: Math.max(miner, ...this.#minerPids.map(residentBytes)),
    };
  }

  async #refusals(): Promise<Reading["refusals"]> {
    const health = await fetch(new URL("/health", this.#address.href.replace("ws", "http")));
    return healthSchema.parse(await health.json()).refusals;
  }

  #logOf(name: string): string {
    return readFileSync(join(this.folder, "logs", `${name}.log`), "utf8");
  }

  #kill(): void {
    for (const miner of this.#miners) miner.kill();
    for (const child of [this.#network, this.#rogue]) child?.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}
