/**
 * One swarm to be measured: an orchestrator and miners, each a process as at people's homes, behind a link of its own where links are
 * emulated. It trains to its target while what is seen of it is written down at the end of every epoch.
 */
import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, linkSync, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import { blobsFolder } from "../../../src/network/checkpoints/archive.ts";
import type { RunDefinition } from "../../../src/network/orchestrator/core/definition.ts";
import type { RunOptions } from "../../../src/network/run-options.ts";
import { type FrameBytes, messageKinds, noFrameBytes } from "../../../src/protocol/frames.ts";
import { type TrafficView, trafficViewSchema } from "../../../src/protocol/machine-view.ts";
import type { Checkpoint, EpochRecord, RunUpdate, RunView } from "../../../src/protocol/run-view.ts";
import {
  type CongestionControl,
  EmulatedHomes,
  type HomeCounters,
  type HomeLine,
  serverAddress,
} from "../../lab/homes/emulated-homes.ts";
import { smallMinerFlags } from "../shared/miner-flags.ts";
import { progress, rounded } from "../shared/report.ts";
import { ServiceProcess } from "../shared/service-process.ts";
import type { NetworkProcessMessage, NetworkProcessOptions } from "./network-process.ts";
import { type ProcessorSeconds, processorSeconds } from "./processor-time.ts";

export interface BenchSwarmOptions {
  readonly run: RunOptions;
  readonly miners: number;
  readonly precision: "f32" | "bf16";
  /** Of each home; null: all miners and the orchestrator share this computer's loopback. */
  readonly line: HomeLine | null;
  /** Of TCP behind such lines; undefined: what this computer has. */
  readonly congestionControl: CongestionControl | undefined;
  /** Miners reach each other directly where they can. */
  readonly direct: boolean;
  /** What it has written is left behind. */
  readonly keep: boolean;
}

/** The swarm at one moment. Bytes and seconds are since it was started. */
export interface Reading {
  readonly atMs: number;
  readonly tokens: number;
  readonly frameBytes: FrameBytes;
  /** Null where nobody counts. */
  readonly processor: ProcessorSeconds | null;
  /** One for each home; null without emulated lines. */
  readonly lines: readonly HomeCounters[] | null;
}

export interface Course {
  /** Of the miners. */
  readonly startedAtMs: number;
  /** When the first epoch's training began. */
  readonly training: Reading;
  /** At each epoch's end, in order. */
  readonly epochs: readonly Reading[];
  readonly checkpoints: readonly Checkpoint[];
  readonly microbatchesLost: number;
  /** What the miners say that they have sent and received in all, beside what crossed their lines; null without emulated lines. */
  readonly shown: readonly ShownTraffic[] | null;
  /** What the miners say that they have sent each other, all of them together. */
  readonly sentFrames: FrameBytes;
}

export interface ShownTraffic {
  readonly crossed: HomeCounters;
  readonly shown: TrafficView["total"];
}

/** What an observer sees of it. */
type SeenCourse = Omit<Course, "shown" | "sentFrames">;

/** Without anything new from the run for so long, it stands still. */
const patienceMs = 300_000;
const tah = fileURLToPath(new URL("../../../src/cli/tah.ts", import.meta.url));
const run = promisify(execFile);
const statusSchema = z.object({ traffic: trafficViewSchema });
const minerGraceMs = 5_000;

export class BenchSwarm {
  readonly folder: string;
  readonly definition: RunDefinition;
  readonly #options: BenchSwarmOptions;
  readonly #network: ChildProcess;
  readonly #homes: EmulatedHomes | null;
  readonly #url: string;
  readonly #miners: ServiceProcess[] = [];
  readonly #abandon = () => this.#end();

  private constructor(options: BenchSwarmOptions, { folder, homes, network, listening }: OpenSwarm) {
    this.folder = folder;
    this.#options = options;
    this.#homes = homes;
    this.#network = network;
    this.#url = listening.url;
    this.definition = listening.definition;
    process.once("exit", this.#abandon);
  }

  /** An orchestrator with its dataset, and no miners yet. */
  static async open(options: BenchSwarmOptions): Promise<BenchSwarm> {
    const folder = mkdtempSync(join(tmpdir(), "train-at-home-swarm-"));
    mkdirSync(join(folder, "logs"));
    mkdirSync(join(folder, "kept"));
    const { run, line, miners, congestionControl, direct } = options;
    const lines: HomeLine[] = Array(miners).fill(line);
    const seed = run.seed ?? 1;
    const homes = line === null ? null : await EmulatedHomes.start({ homes: lines, seed, congestionControl });
    const network = startNetwork({ port: 0, run, stateFolder: join(folder, "network") }, { direct, folder, homes });
    const listening = await Promise.race([untilListening(network), once(network, "exit").then(() => null)]);
    if (listening === null) throw new Error(`the orchestrator ended at once; see ${folder}/logs`);
    return new BenchSwarm(options, { folder, homes, network, listening });
  }

  /** Whether the gateway sees only part of what miners send each other. */
  get isDirect(): boolean {
    return this.#options.direct;
  }

  /** Where a kept checkpoint's blobs are. */
  get keptFolder(): string {
    return join(this.folder, "kept");
  }

  /** Trains from the start to the run's target. */
  async train(): Promise<Course> {
    const startedAtMs = Date.now();
    for (let index = 0; index < this.#options.miners; index++) this.#startMiner(index);
    const observer = new Observer(this);
    const course = Promise.withResolvers<SeenCourse>();
    let impatience: NodeJS.Timeout | undefined;
    const watch = (message: NetworkProcessMessage) => {
      if (message.type !== "update") return;
      observer.take(message.update, message.frameBytes);
      if (!observer.isWorthWaiting(message.update)) return;
      clearTimeout(impatience);
      impatience = setTimeout(() => course.reject(new Error(`the swarm stands still; see ${this.folder}`)), patienceMs);
      if (observer.isFinished) observer.course(startedAtMs).then(course.resolve, course.reject);
    };
    this.#network.on("message", watch);
    try {
      const seen = await course.promise;
      const views = await this.#trafficViews();
      return { ...seen, shown: await this.#shownBesideLines(views), sentFrames: sumOfFrames(views) };
    } finally {
      this.#network.off("message", watch);
      clearTimeout(impatience);
      await Promise.all(this.#miners.map((miner) => miner.stop(minerGraceMs)));
    }
  }

  lineCounters(): Promise<readonly HomeCounters[] | null> {
    return this.#homes?.counters() ?? Promise.resolve(null);
  }

  processorSeconds(): ProcessorSeconds | null {
    const daemons = this.#miners.flatMap(({ pid }) => pid ?? []);
    const { pid: orchestrator } = this.#network;
    return orchestrator === undefined
      ? null
      : processorSeconds({ daemons, orchestrator, links: this.#homes?.pid ?? null });
  }

  /** The network forgets older checkpoints; hard links keep their weights. */
  keep({ stages }: Checkpoint): void {
    for (const { weights } of stages) {
      try {
        linkSync(join(blobsFolder(join(this.folder, "network")), weights.hash), join(this.keptFolder, weights.hash));
      } catch (error) {
        // A stage may have kept its weights since the last one.
        if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      }
    }
  }

  async close(): Promise<void> {
    process.off("exit", this.#abandon);
    await Promise.all(this.#miners.map((miner) => miner.stop(minerGraceMs)));
    const ended = once(this.#network, "exit");
    if (this.#network.connected) {
      this.#network.disconnect();
      await ended;
    }
    await this.#homes?.close();
    this.#tidy();
  }

  #startMiner(index: number): void {
    const name = `home-${index + 1}`;
    const device = smallMinerFlags(this.#options.precision);
    const state = this.#stateFolder(index);
    const within = this.#homes?.homes[index]?.enter;
    const miner = new ServiceProcess({
      args: () => ["mine", "--network", this.#url, "--name", name, ...device, "--api-port", "0", "--state", state],
      ...(within && { within }),
      logFile: join(this.folder, "logs", `${name}.log`),
    });
    this.#miners.push(miner);
    miner.start();
  }

  #stateFolder(index: number): string {
    return join(this.folder, `home-${index + 1}`);
  }

  #trafficViews(): Promise<readonly TrafficView[]> {
    const views = this.#miners.map(async (_, index) => {
      const status = [process.execPath, tah, "status", "--json", "--state", this.#stateFolder(index)];
      const [program = "", ...args] = [...(this.#homes?.homes[index]?.enter ?? []), ...status];
      const { stdout } = await run(program, args);
      return statusSchema.parse(JSON.parse(stdout.trim().split("\n").at(-1) ?? "")).traffic;
    });
    return Promise.all(views);
  }

  async #shownBesideLines(views: readonly TrafficView[]): Promise<Course["shown"]> {
    const counters = await this.lineCounters();
    return (
      counters?.flatMap((crossed, index) => {
        const shown = views[index]?.total;
        return shown === undefined ? [] : [{ crossed, shown }];
      }) ?? null
    );
  }

  #end(): void {
    for (const miner of this.#miners) miner.kill();
    this.#network.kill("SIGKILL");
    this.#tidy();
  }

  #tidy(): void {
    if (this.#options.keep) progress(`all logs and states are in ${this.folder}`);
    else rmSync(this.folder, { recursive: true, force: true });
  }
}

function sumOfFrames(views: readonly TrafficView[]): FrameBytes {
  const sum = { ...noFrameBytes };
  for (const kind of messageKinds) for (const { sentFrames } of views) sum[kind] += sentFrames[kind];
  return sum;
}

interface OpenSwarm {
  readonly folder: string;
  readonly homes: EmulatedHomes | null;
  readonly network: ChildProcess;
  readonly listening: Listening;
}

type Listening = Extract<NetworkProcessMessage, { type: "listening" }>;

function startNetwork(
  options: Omit<NetworkProcessOptions, "host" | "direct">,
  { direct, folder, homes }: Pick<OpenSwarm, "folder" | "homes"> & Pick<BenchSwarmOptions, "direct">,
): ChildProcess {
  const entry = fileURLToPath(new URL("./network-process.ts", import.meta.url));
  const host = homes === null ? "127.0.0.1" : serverAddress;
  const [execPath = process.execPath, ...execArgv] = [...(homes?.server.enter ?? []), process.execPath];
  const log = openSync(join(folder, "logs", "network.log"), "a");
  try {
    const stdio = ["ignore", log, log, "ipc"] as const;
    const network: NetworkProcessOptions = {
      ...options,
      host,
      direct: direct ? { listenHost: host, publicHost: host, firstPort: 0 } : undefined,
    };
    return fork(entry, [JSON.stringify(network)], { stdio: [...stdio], execPath, execArgv });
  } finally {
    closeSync(log);
  }
}

function untilListening(network: ChildProcess): Promise<Listening> {
  return new Promise((resolve) => {
    const listener = (message: NetworkProcessMessage) => {
      if (message.type !== "listening") return;
      network.off("message", listener);
      resolve(message);
    };
    network.on("message", listener);
  });
}

/** Turns what an observer of the run is told into its course. */
class Observer {
  readonly #swarm: BenchSwarm;
  readonly #epochs: Promise<Reading>[] = [];
  readonly #checkpoints: Checkpoint[] = [];
  #view: RunView | null = null;
  #training: Promise<Reading> | null = null;

  constructor(swarm: BenchSwarm) {
    this.#swarm = swarm;
  }

  get isFinished(): boolean {
    return this.#view?.phase === "finished";
  }

  /** Telemetry comes whatever happens. */
  isWorthWaiting({ view, epochs }: RunUpdate): boolean {
    return view !== undefined || epochs !== undefined;
  }

  take({ view, epochs = [] }: RunUpdate, frameBytes: FrameBytes): void {
    for (const epoch of epochs) this.#ended(epoch, frameBytes);
    if (view === undefined) return;
    this.#view = view;
    if (view.phase === "training") this.#training ??= this.#reading(view.phaseSinceMs, 0, frameBytes);
    const { checkpoint } = view;
    if (checkpoint === null || checkpoint.epoch === this.#checkpoints.at(-1)?.epoch) return;
    this.#swarm.keep(checkpoint);
    this.#checkpoints.push(checkpoint);
  }

  async course(startedAtMs: number): Promise<SeenCourse> {
    const training = await this.#training;
    if (training === null) throw new Error("the swarm finished without training");
    const epochs = await Promise.all(this.#epochs);
    const microbatchesLost = this.#view?.microbatchesLost ?? 0;
    return { startedAtMs, training, epochs, checkpoints: this.#checkpoints, microbatchesLost };
  }

  #ended({ epoch, tokens, finishedAtMs, trainLossNats }: EpochRecord, frameBytes: FrameBytes): void {
    this.#epochs.push(this.#reading(finishedAtMs, tokens, frameBytes));
    progress(`epoch ${epoch}: ${tokens} tokens, training loss ${rounded(trainLossNats ?? Number.NaN, 3)} nats`);
  }

  async #reading(atMs: number, tokens: number, frameBytes: FrameBytes): Promise<Reading> {
    const processor = this.#swarm.processorSeconds();
    return { atMs, tokens, frameBytes, processor, lines: await this.#swarm.lineCounters() };
  }
}
