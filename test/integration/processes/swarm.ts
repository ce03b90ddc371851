/** Starts a network and its miners as processes, watches the run as any client may, and ends all of them. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Manifest, manifestSchema } from "../../../src/compute/data/manifest.ts";
import { systemClock } from "../../../src/miner/session/clock.ts";
import { OwnerCommands } from "../../../src/miner/session/owner-commands.ts";
import { Session } from "../../../src/miner/session/session.ts";
import type { RunOptions } from "../../../src/network/run-options.ts";
import { createIdentity } from "../../../src/protocol/identity.ts";
import { type RunId, runIdSchema } from "../../../src/protocol/ids.ts";
import type { OwnerCommand } from "../../../src/protocol/owner-commands.ts";
import type { EpochRecord, RunSummary, RunUpdate, RunView } from "../../../src/protocol/run-view.ts";
import { BlobClient } from "../../../src/transport/blobs/blob-client.ts";
import { Traffic } from "../../../src/transport/traffic/traffic.ts";
import type { MinerProcessMessage, MinerProcessOptions } from "./miner.ts";
import type { NetworkProcessMessage, NetworkProcessOptions } from "./network.ts";

const firstRunId = runIdSchema.parse("tiny");

export type SwarmOptions = Omit<RunOptions, "preset">;

export interface MinerProcess {
  readonly child: ChildProcess;
  /** What it said last. */
  latest: MinerProcessMessage | null;
  readonly log: string[];
}

/** A run as the network last showed it. */
interface WatchedRun {
  readonly view: RunView;
  readonly epochs: readonly EpochRecord[];
}

export class Swarm {
  readonly folder: string;
  readonly #options: SwarmOptions;
  readonly #direct: NetworkProcessOptions["direct"];
  readonly #children = new Set<ChildProcess>();
  readonly #owner = createIdentity();
  #network: ChildProcess | null = null;
  #listening: NetworkProcessMessage | null = null;
  #session: Session | null = null;
  #blobs: BlobClient | null = null;
  /** All runs at a glance. */
  summaries: readonly RunSummary[] = [];
  readonly runs = new Map<RunId, WatchedRun>();
  readonly #ownerCommands = new OwnerCommands((message) => this.#session?.send(message) ?? false);
  #changed = Promise.withResolvers<void>();

  private constructor(folder: string, options: SwarmOptions, direct: NetworkProcessOptions["direct"]) {
    this.folder = folder;
    this.#options = options;
    this.#direct = direct;
  }

  /** `direct`: how miners reach each other directly; by default they do not. */
  static async start(options: SwarmOptions, direct?: NetworkProcessOptions["direct"]): Promise<Swarm> {
    const swarm = new Swarm(await mkdtemp(join(tmpdir(), "swarm-")), options, direct);
    await swarm.startNetwork(0);
    swarm.#watch();
    return swarm;
  }

  get port(): number {
    return Number(new URL(this.#address.url).port);
  }

  /** The run that the network began with. */
  get view(): RunView | null {
    return this.#first?.view ?? null;
  }

  get epochs(): readonly EpochRecord[] {
    return this.#first?.epochs ?? [];
  }

  get #first(): WatchedRun | undefined {
    return this.runs.get(firstRunId);
  }

  /** The run's dataset. */
  async manifest(): Promise<Manifest> {
    const bytes = await this.blobs.get(this.#address.manifest);
    return manifestSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  }

  get networkProcess(): ChildProcess {
    if (this.#network === null) throw new Error("the network was not started");
    return this.#network;
  }

  get #address(): NetworkProcessMessage {
    if (this.#listening === null) throw new Error("the network was not started");
    return this.#listening;
  }

  get blobs(): BlobClient {
    if (this.#blobs === null) throw new Error("the swarm was not started");
    return this.#blobs;
  }

  async startNetwork(port: number): Promise<void> {
    const options: NetworkProcessOptions = {
      run: { ...this.#options, preset: "tiny" },
      owners: [this.#owner.minerId],
      direct: this.#direct,
      evaluator: null,
      stateFolder: join(this.folder, "network"),
      port,
    };
    this.#network = this.#fork("network.ts", options);
    const [message] = (await once(this.#network, "message")) as [NetworkProcessMessage];
    this.#listening = message;
  }

  startMiner(name: string): MinerProcess {
    const options: MinerProcessOptions = { networkUrl: this.#address.url, name, stateFolder: join(this.folder, name) };
    const miner: MinerProcess = { child: this.#fork("miner.ts", options), latest: null, log: [] };
    miner.child.on("message", (message: MinerProcessMessage) => {
      miner.latest = message;
      if (message.logged !== null) miner.log.push(message.logged);
      this.#tellChange();
    });
    return miner;
  }

  startMiners(count: number): MinerProcess[] {
    return Array.from({ length: count }, (_, index) => this.startMiner(`miner ${index + 1}`));
  }

  /** Waits until something is so of the run or of a miner. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await this.#changed.promise;
  }

  async untilEpochs(count: number): Promise<void> {
    await this.until(() => this.epochs.length >= count);
  }

  /** As the network's owner. */
  command(command: OwnerCommand): Promise<RunId> {
    return this.#ownerCommands.call(command);
  }

  async close(): Promise<void> {
    this.#session?.close();
    await Promise.all([...this.#children].map(kill));
    await rm(this.folder, { recursive: true, force: true });
  }

  #watch(): void {
    const log = () => {};
    const traffic = new Traffic(systemClock);
    const credentials = { identity: this.#owner, name: "watcher", role: "miner" } as const;
    const session = new Session(
      { url: this.#address.url, credentials, clock: systemClock, traffic, log },
      {
        opened: () => this.runs.clear(), // all of it follows
        message: (message) => {
          if (message.type === "owner-answer") this.#ownerCommands.answered(message);
          else if (message.type === "runs") this.summaries = message.runs;
          else if (message.type === "run-update") this.#updated(message.update);
          else return;
          this.#tellChange();
        },
        lost: () => {},
      },
    );
    this.#session = session;
    this.#blobs = new BlobClient({
      url: this.#address.url.replace("ws", "http"),
      token: () => session.blobToken,
      cacheFolder: join(this.folder, "watched"),
      maxCacheBytes: 1e9,
      traffic,
    });
    session.open();
  }

  #updated({ runId, view, epochs = [] }: RunUpdate): void {
    const known = this.runs.get(runId);
    const latest = view ?? known?.view;
    if (latest !== undefined) this.runs.set(runId, { view: latest, epochs: [...(known?.epochs ?? []), ...epochs] });
  }

  #tellChange(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #fork(entry: string, options: object): ChildProcess {
    const path = fileURLToPath(new URL(`./${entry}`, import.meta.url));
    const child = fork(path, [JSON.stringify(options)], { execArgv: [] });
    this.#children.add(child);
    return child;
  }
}

/** Ends a process without giving it a chance to tidy up. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
