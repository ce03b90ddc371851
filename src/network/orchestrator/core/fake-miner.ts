/** A miner as the core sees it, for tests: it takes what it is told, and has an honest report for each of its places. */
import { hashBytes } from "../../../protocol/identity.ts";
import { type BlobHash, type MinerId, type PlaceRef, samePlace } from "../../../protocol/ids.ts";
import type { Roster } from "../../../protocol/roster.ts";
import type { TrainingConfig } from "../../../protocol/run-config.ts";
import { sourceShares } from "../../../protocol/source-shares.ts";
import type { StageNeed } from "../placement/placement.ts";
import { planStages, type RunDefinition, tokensPerSource } from "./definition.ts";
import type { MinerMessage, OrchestratorMessage } from "./event.ts";
import { type SnapshotBlobs, stateBlobBytes } from "./starting-state.ts";

/** What it says from a place. */
export type Report = Extract<MinerMessage, { readonly at: PlaceRef }>;

/** How fast it is. */
const blockTokensPerSecond = 64;
/** In one `reduced` message. */
const mostSlices = 256;

export function fakeHash(text: string): BlobHash {
  return hashBytes(Buffer.from(text));
}

type Keeping = Extract<OrchestratorMessage, { type: "take-snapshot" | "store-checkpoint" | "abandon-checkpoint" }>;

function isKeeping(message: OrchestratorMessage): message is Keeping {
  return (
    message.type === "take-snapshot" || message.type === "store-checkpoint" || message.type === "abandon-checkpoint"
  );
}

interface FakePlace {
  readonly at: PlaceRef;
  /** What it last had to say; said again until something newer comes. */
  readonly reports: readonly Report[];
  /** It trains on the weights that it had. */
  readonly isTraining: boolean;
  /** As it was told last; null before training began. */
  readonly roster: Roster | null;
}

export class FakeMiner {
  readonly minerId: MinerId;
  readonly #definition: RunDefinition;
  readonly #places = new Map<number, FakePlace>();
  /** What it has to say of snapshots, by stage and epoch; they outlive places. */
  readonly #snapshots = new Map<string, Report>();
  readonly #needs: readonly StageNeed[];
  /** As it was last told to train. */
  #training: TrainingConfig;

  constructor(minerId: MinerId, definition: RunDefinition, needs: readonly StageNeed[]) {
    this.minerId = minerId;
    this.#definition = definition;
    this.#needs = needs;
    this.#training = definition.training;
  }

  /** The places whose state it holds. */
  get held(): readonly PlaceRef[] {
    return Array.from(this.#places.values(), ({ at }) => at);
  }

  /** Its process is started anew. */
  forget(): void {
    this.#places.clear();
    this.#snapshots.clear();
  }

  reports(stage?: number): readonly Report[] {
    if (stage !== undefined) return this.#places.get(stage)?.reports ?? [];
    return [...[...this.#places.values()].flatMap(({ reports }) => reports), ...this.#snapshots.values()];
  }

  take(message: OrchestratorMessage): void {
    if (message.type === "idle") {
      this.#places.clear();
      return;
    }
    const { at } = message;
    const place = this.#places.get(at.stage);
    if (isKeeping(message)) this.#keep(message);
    else if (message.type === "prepare") {
      const weightsHash = message.checkpoint?.weights.hash ?? fakeHash(`initial ${at.stage}`);
      this.#training = message.training;
      if (place === undefined || !samePlace(place.at, at)) this.#say({ type: "ready", at, weightsHash });
    } else if (place !== undefined && samePlace(place.at, at)) {
      if (message.type === "start" || message.type === "roster")
        this.#places.set(at.stage, { ...place, isTraining: true, roster: message.roster });
      for (const report of this.#answer(message)) this.#say(report);
    }
  }

  #say(report: Report): void {
    const before = this.#places.get(report.at.stage);
    const roster = before !== undefined && samePlace(before.at, report.at) ? before.roster : null;
    const isTraining = report.type === "source-done";
    this.#places.set(report.at.stage, { at: report.at, reports: [report], isTraining, roster });
  }

  #keep(message: Keeping): void {
    const { at } = message;
    const key = `${at.stage} ${at.epoch} ${at.attempt}`;
    const known = this.#snapshots.get(key);
    switch (message.type) {
      case "take-snapshot": {
        const { weightsHash } = message;
        const [last] = this.#places.get(at.stage)?.reports ?? [];
        const holds = (last?.type === "merged" || last?.type === "ready") && last.weightsHash === weightsHash;
        const state = holds && !this.#places.get(at.stage)?.isTraining ? this.#state(at.stage, weightsHash) : null;
        for (const [older, { at: place }] of this.#snapshots)
          if (place.stage === at.stage && place.epoch < at.epoch - 1) this.#snapshots.delete(older);
        if (known === undefined) this.#snapshots.set(key, { type: "snapshot", at, state });
        break;
      }
      case "store-checkpoint":
        if (known === undefined) this.#snapshots.set(key, { type: "snapshot", at, state: null });
        if (known?.type === "snapshot" && known.state !== null)
          this.#snapshots.set(key, { type: "stored", at, ...known.state });
        break;
      case "abandon-checkpoint":
        this.#snapshots.delete(key);
        break;
    }
  }

  #state(stage: number, weightsHash: BlobHash) {
    return stateBlobs(this.#definition, stage, weightsHash);
  }

  #answer(message: Exclude<OrchestratorMessage, Keeping | { type: "idle" | "prepare" }>): readonly Report[] {
    const { at } = message;
    const definition = this.#definition;
    switch (message.type) {
      case "start":
        return at.stage === 0 ? [{ type: "source-done", at, microbatchesDone: 4, microbatchesLost: 0 }] : [];
      case "roster":
        return [];
      case "upload": {
        const roster = this.#places.get(at.stage)?.roster ?? null;
        const tokens = tokensTrained(this.#training, this.minerId, at.stage, roster);
        const lossSumNats = at.stage === definition.stages - 1 ? 2 * tokens : null;
        const manifest = fakeHash(`contribution of ${this.minerId} ${JSON.stringify(at)}`);
        const computeMs = Math.round((1000 * tokens * (this.#needs[at.stage]?.work ?? 0)) / blockTokensPerSecond);
        return [{ type: "contributed", at, manifest, tokens, lossSumNats, computeMs, boundary: null }];
      }
      case "reduce": {
        const slices = message.partitions.map((partition) => ({
          partition,
          hash: sliceHash(message, partition),
          missing: [],
        }));
        const parts = Array.from({ length: Math.ceil(slices.length / mostSlices) }, (_, index) =>
          slices.slice(index * mostSlices, (index + 1) * mostSlices),
        );
        return parts.map((part) => ({ type: "reduced", at, slices: part, outliers: [] }));
      }
      case "apply": {
        const lost = message.slices.filter((slice) => slice === null).length;
        const text = `merged ${at.stage} ${at.epoch} ${at.attempt}${lost === 0 ? "" : ` without ${lost}`}`;
        return [{ type: "merged", at, weightsHash: fakeHash(text) }];
      }
    }
  }
}

/** Follows from what is averaged, as it must. */
function sliceHash({ at, contributions }: Extract<OrchestratorMessage, { type: "reduce" }>, partition: number) {
  return fakeHash(JSON.stringify([at, partition, contributions]));
}

/** Its share of what the sources send, and of what passes through its stage. */
function tokensTrained(training: TrainingConfig, minerId: MinerId, stage: number, roster: Roster | null): number {
  const { sources, stages } = roster ?? { sources: [], stages: [] };
  const { microbatchesPerStep } = training;
  if (stage === 0) {
    const share = sourceShares(sources, microbatchesPerStep)[sources.findIndex((one) => one.minerId === minerId)];
    return ((share?.count ?? 0) * tokensPerSource(training)) / microbatchesPerStep;
  }
  const replicas = stages[stage] ?? [];
  const weight = replicas.reduce((sum, one) => sum + one.weight, 0);
  const own = replicas.find((one) => one.minerId === minerId)?.weight ?? 0;
  return Math.floor((sources.length * tokensPerSource(training) * own) / Math.max(1, weight));
}

/** Blobs of the sizes that a stage's state has. */
export function stateBlobs(definition: RunDefinition, stage: number, weightsHash: BlobHash): SnapshotBlobs {
  const { weights, optimizer, moments } = stateBlobBytes(
    definition.training,
    planStages(definition)[stage]?.parameters ?? 0,
  );
  return {
    weights: { hash: weightsHash, bytes: weights },
    optimizer: { hash: fakeHash("optimizer"), bytes: optimizer },
    moments: moments === null ? null : { hash: fakeHash("moments"), bytes: moments },
  };
}
