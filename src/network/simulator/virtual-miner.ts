/**
 * A miner as the orchestrator sees it: it takes the protocol's messages and, after as long as a machine with its memory, speed and
 * link takes for what they ask, it reports. It neither trains nor averages; hashes follow from what they should follow from, so that
 * honest replicas agree. Since no message of an open session is lost here, it never repeats itself.
 */
import { blockParameterCount } from "../../compute/model/stages.ts";
import { assertNever } from "../../protocol/assert-never.ts";
import type { DeviceReport } from "../../protocol/device-report.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { type BlobHash, type MinerId, minerIdSchema, type PlaceRef, samePlace } from "../../protocol/ids.ts";
import type { MinerMessage, OrchestratorMessage } from "../orchestrator/core/event.ts";
import { type SnapshotBlobs, stateBlobBytes } from "../orchestrator/core/starting-state.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import type { MachineKind } from "./scenario.ts";

export type Report = Extract<MinerMessage, { readonly at: PlaceRef }>;
/** Training is the flow model's; everything else a miner answers by itself. */
export type Command = Exclude<OrchestratorMessage, { readonly type: "idle" | "start" | "roster" }>;

export interface Answer {
  readonly afterMs: number;
  readonly reports: readonly Report[];
}

/** What does not change while a run is simulated. */
export interface Run extends Pick<RunState, "definition" | "stages" | "needs"> {
  readonly activationCompression: number;
}

type Keeping = Extract<Command, { type: "take-snapshot" | "store-checkpoint" | "abandon-checkpoint" }>;

interface VirtualPlace {
  readonly at: PlaceRef;
  /** Of the weights that it holds or loads; null while it trains on them. */
  weightsHash: BlobHash | null;
  /** What it was last asked and has not reported on; asked again, it goes on. */
  asked: string | null;
}

const bytesPerParameter = 4;
/** In one `reduced` message. */
const mostSlices = 256;
/** For a worker to start. */
const startMs = 2000;
/** To average or to apply what has been fetched. */
const mergeMs = 500;
/** To copy a state to the disk. */
const snapshotMs = 500;
/** Of its uplink, what an upload in the background gets. */
const spareShare = 0.5;
/** Before the newest: of these a snapshot may still be on its way into the blob store. */
const keptEpochs = 64;

export class VirtualMiner {
  readonly minerId: MinerId;
  readonly name: string;
  readonly machine: Omit<MachineKind, "share">;
  /** Its session is open. */
  isOnline = false;
  /** Counts sessions: what was to be said in an earlier one is not. */
  session = 0;
  /** How many times slower it is for now. */
  slowness = 1;
  readonly #run: Run;
  readonly #places = new Map<number, VirtualPlace>();
  readonly #snapshots = new Map<string, PlaceRef & { readonly state: SnapshotBlobs }>();

  constructor(index: number, machine: VirtualMiner["machine"], run: Run) {
    this.minerId = virtualMinerId(index);
    this.name = `miner ${index}`;
    this.machine = machine;
    this.#run = run;
  }

  get device(): DeviceReport {
    const { memoryBytes } = this.machine;
    return {
      platform: "simulated",
      cpu: "simulated",
      cores: 8,
      memoryBytes,
      memoryLimitBytes: memoryBytes,
      maximumStages: this.#run.stages.length,
      backend: "native",
      precision: "f32",
      adapter: null,
      blockTokensPerSecond: Math.round(this.#blockTokensPerSecond),
    };
  }

  /** The places whose state it holds. */
  get held(): readonly PlaceRef[] {
    return [...this.#places.values()].map(({ at }) => at);
  }

  holds(at: PlaceRef): boolean {
    const place = this.#places.get(at.stage);
    return place !== undefined && samePlace(place.at, at);
  }

  /** Whether what it was about to say is still so: its place may be another by now, while snapshots outlive places. */
  stillSays(report: Report): boolean {
    return report.type === "snapshot" || report.type === "stored" || this.holds(report.at);
  }

  /** Ends the session. `keepsState`: the process lives on. */
  disconnect(keepsState: boolean): void {
    this.isOnline = false;
    this.session++;
    if (!keepsState) {
      this.#places.clear();
      this.#snapshots.clear();
    }
    for (const place of this.#places.values()) place.asked = null;
  }

  /** It has no place. */
  rest(): void {
    this.#places.clear();
  }

  /** Training has begun: the weights are no checkpoint's any more. */
  train(at: PlaceRef): void {
    const place = this.#places.get(at.stage);
    if (place !== undefined && samePlace(place.at, at)) place.weightsHash = null;
  }

  /** Null: there is nothing to answer. `tokens`: that it has taken in the epoch, for its contribution. */
  take(command: Command, tokens: number): Answer | null {
    const { at } = command;
    if (command.type === "prepare") return this.#prepare(command);
    if (isKeeping(command)) return this.#keep(command);
    const place = this.#places.get(at.stage);
    if (place === undefined || !samePlace(place.at, at) || place.asked === askedBy(command)) return null;
    place.asked = askedBy(command);
    const stateBytes = (this.#run.stages[at.stage]?.parameters ?? 0) * bytesPerParameter;
    const { uplinkBytesPerSecond, downlinkBytesPerSecond } = this.machine;
    switch (command.type) {
      case "upload": {
        const sentBytes = 2 * stateBytes * (1 - 1 / command.replicas.length);
        return this.#answer(transferMs(sentBytes, uplinkBytesPerSecond), this.#contribution(at, tokens));
      }
      case "reduce":
        return this.#answer(mergeMs, ...reducedReports(command));
      case "apply": {
        const lackedBytes = stateBytes * Math.max(0, 1 - 2 / command.replicas.length);
        // While it fetches what it lacks, it serves as much to others.
        const slower = Math.min(uplinkBytesPerSecond, downlinkBytesPerSecond);
        const weightsHash = mergedHash(command);
        place.weightsHash = weightsHash;
        return this.#answer(mergeMs + transferMs(lackedBytes, slower), { type: "merged", at, weightsHash });
      }
    }
  }

  /** Tokens per second that it takes in each of these stages at once. */
  tokensPerSecond(stages: readonly number[]): number {
    const needs = stages.flatMap((stage) => this.#run.needs[stage] ?? []);
    const work = needs.reduce((sum, need) => sum + need.work, 0);
    // Half of what crosses a boundary comes in, the other half goes out.
    const bytes = needs.reduce((sum, need) => sum + need.bytesPerToken, 0) / 2 / this.#run.activationCompression;
    const link = Math.min(this.machine.uplinkBytesPerSecond, this.machine.downlinkBytesPerSecond);
    return Math.min(this.#blockTokensPerSecond / this.slowness / work, link / bytes);
  }

  get #blockTokensPerSecond(): number {
    const { model } = this.#run.definition;
    // Each parameter is multiplied with once forward and twice backward, and each channel with half of the context, twice.
    const flopsPerToken = 6 * blockParameterCount(model) + 6 * model.context * model.width;
    return (this.machine.gigaflops * 1e9) / flopsPerToken;
  }

  #prepare({ at, checkpoint }: Extract<Command, { type: "prepare" }>): Answer | null {
    const before = this.#places.get(at.stage);
    if (before?.asked === "prepare" && samePlace(before.at, at)) return null;
    const initial = hashText(`initial weights of stage ${at.stage}`);
    const weightsHash = checkpoint?.weights.hash ?? initial;
    this.#places.set(at.stage, { at, weightsHash, asked: "prepare" });
    const report: Report = { type: "ready", at, weightsHash };
    if (before?.weightsHash === weightsHash && before.asked !== "prepare") return this.#answer(0, report);
    const optimizer = checkpoint?.moments ?? checkpoint?.optimizer;
    const bytes = (checkpoint?.weights.bytes ?? 0) + (optimizer?.bytes ?? 0);
    return this.#answer(startMs + transferMs(bytes, this.machine.downlinkBytesPerSecond), report);
  }

  /** Snapshots outlive places, and are uploaded with what the training leaves of the link. */
  #keep(command: Keeping): Answer | null {
    const { at } = command;
    const key = `${at.stage} ${at.epoch} ${at.attempt}`;
    const known = this.#snapshots.get(key);
    switch (command.type) {
      case "take-snapshot": {
        const { weightsHash } = command;
        for (const [older, { stage, epoch }] of this.#snapshots)
          if (stage === at.stage && epoch < at.epoch - keptEpochs) this.#snapshots.delete(older);
        const holds = this.#places.get(at.stage)?.weightsHash === weightsHash;
        const state = known?.state ?? (holds ? this.#stateBlobs(at.stage, weightsHash) : null);
        if (state !== null) this.#snapshots.set(key, { ...at, state });
        return this.#answer(snapshotMs, { type: "snapshot", at, state });
      }
      case "store-checkpoint": {
        if (known === undefined) return this.#answer(0, { type: "snapshot", at, state: null });
        const { weights, optimizer } = known.state;
        const ms = transferMs(weights.bytes + optimizer.bytes, spareShare * this.machine.uplinkBytesPerSecond);
        return this.#answer(ms, { type: "stored", at, weights, optimizer });
      }
      case "abandon-checkpoint":
        return null;
      default:
        return assertNever(command);
    }
  }

  #stateBlobs(stage: number, weightsHash: BlobHash): SnapshotBlobs {
    const { training } = this.#run.definition;
    const { weights, optimizer, moments } = stateBlobBytes(training, this.#run.stages[stage]?.parameters ?? 0);
    return {
      weights: { hash: weightsHash, bytes: weights },
      optimizer: { hash: hashText(`optimizer of ${weightsHash}`), bytes: optimizer },
      moments: moments === null ? null : { hash: hashText(`moments of ${weightsHash}`), bytes: moments },
    };
  }

  #contribution(at: PlaceRef, tokens: number): Report {
    const work = this.#run.needs[at.stage]?.work ?? 0;
    return {
      type: "contributed",
      at,
      manifest: hashText(`contribution of ${this.minerId} to ${at.stage} in ${at.epoch}.${at.attempt}`),
      tokens: Math.floor(tokens),
      lossSumNats: null,
      computeMs: Math.round((1000 * tokens * work * this.slowness) / this.#blockTokensPerSecond),
      boundary: null,
    };
  }

  #answer(afterMs: number, ...reports: readonly Report[]): Answer {
    return { afterMs, reports };
  }
}

export function virtualMinerId(index: number): MinerId {
  return minerIdSchema.parse(index.toString(16).padStart(64, "0"));
}

function isKeeping(command: Command): command is Keeping {
  const { type } = command;
  return type === "take-snapshot" || type === "store-checkpoint" || type === "abandon-checkpoint";
}

function transferMs(bytes: number, bytesPerSecond: number): number {
  return (1000 * bytes) / bytesPerSecond;
}

function askedBy(command: Command): string {
  return command.type === "reduce" ? `reduce ${command.partitions.join()}` : command.type;
}

function reducedReports({ at, contributions, partitions }: Extract<Command, { type: "reduce" }>): readonly Report[] {
  const sum = remembered(sums, contributions, () => contributions.map(({ manifest }) => manifest).join());
  const slices = partitions.map((partition) => ({
    partition,
    hash: hashText(`${sum}, slice ${partition}`),
    missing: [],
  }));
  return Array.from({ length: Math.ceil(slices.length / mostSlices) }, (_, index) => ({
    type: "reduced",
    at,
    slices: slices.slice(index * mostSlices, (index + 1) * mostSlices),
    outliers: [],
  }));
}

function mergedHash({ slices }: Extract<Command, { type: "apply" }>): BlobHash {
  return remembered(merges, slices, () => slices.map((slice) => slice?.hash ?? "unchanged").join());
}

/** Thousands of replicas are told the same, and hashing is most of what they would do. */
const sums = new WeakMap<object, BlobHash>();
const merges = new WeakMap<object, BlobHash>();

function remembered(memory: WeakMap<object, BlobHash>, told: object, text: () => string): BlobHash {
  const known = memory.get(told);
  if (known !== undefined) return known;
  const hash = hashText(text());
  memory.set(told, hash);
  return hash;
}

function hashText(text: string): BlobHash {
  return hashBytes(Buffer.from(text));
}
