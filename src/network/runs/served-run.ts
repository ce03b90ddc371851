/** One run of a network: its orchestrator, and what the parts around it need to know of its state. */
import type { Manifest } from "../../compute/data/manifest.ts";
import type { BlobHash, MinerId, RunId } from "../../protocol/ids.ts";
import type { Checkpoint, RunSummary } from "../../protocol/run-view.ts";
import { datasetBlobs } from "../dataset/prepare-dataset.ts";
import type { RunDefinition } from "../orchestrator/core/definition.ts";
import { type RunState, rosterMembers } from "../orchestrator/core/state.ts";
import { reasonOf } from "../orchestrator/core/view.ts";
import type { Orchestrator } from "../orchestrator/orchestrator.ts";
import { UploadBudgets } from "./upload-budgets.ts";

export class ServedRun {
  readonly orchestrator: Orchestrator;
  readonly manifest: Manifest;
  /** In proportion to it the run gets a share of the network's capacity. */
  weight: number;
  readonly uploads = new UploadBudgets(() => this.state);
  #roster: { readonly version: number; readonly members: ReadonlySet<MinerId> } = { version: -1, members: new Set() };

  constructor(orchestrator: Orchestrator, manifest: Manifest, weight: number) {
    this.orchestrator = orchestrator;
    this.manifest = manifest;
    this.weight = weight;
  }

  get runId(): RunId {
    return this.definition.runId;
  }

  get definition(): RunDefinition {
    return this.state.definition;
  }

  get state(): RunState {
    return this.orchestrator.state;
  }

  /** Trains, or would if it had the miners. */
  get isActive(): boolean {
    return this.state.intent === "run" && !this.isAtRest;
  }

  /** No epoch is under way, and none will be until its owner wants it. */
  get isAtRest(): boolean {
    const { name } = this.state.phase;
    return name === "paused" || name === "finished";
  }

  /** Each of its members holds one stage. */
  get minimumMiners(): number {
    return this.state.stages.length;
  }

  isOnRoster(minerId: MinerId): boolean {
    const { roster } = this.state;
    if (this.#roster.version !== roster.version)
      this.#roster = { version: roster.version, members: new Set(rosterMembers(this.state)) };
    return this.#roster.members.has(minerId);
  }

  /** Whether nothing that the miner has trained for this run would be lost with it. */
  canRelease(minerId: MinerId): boolean {
    const { name } = this.state.phase;
    return name === "waiting" || name === "preparing" || this.isAtRest || !this.isOnRoster(minerId);
  }

  /** Those that worked for it in this epoch and are gone: after a restart, all that it had. */
  get lostMiners(): readonly MinerId[] {
    const { departed, epoch } = this.state;
    return departed.filter((one) => one.epoch === epoch).map(({ minerId }) => minerId);
  }

  /** What it refers to: dataset, last two checkpoints, and what has been contributed to the epoch that is being merged. */
  get blobs(): readonly BlobHash[] {
    const { checkpoint, previousCheckpoint, phase } = this.state;
    const contributions = "contributions" in phase ? phase.contributions : [];
    return [
      ...datasetBlobs(this.definition.dataset.manifest, this.manifest),
      ...blobsOf(checkpoint),
      ...blobsOf(previousCheckpoint),
      ...contributions.map(({ blob }) => blob.hash),
      ...this.uploads.hashes,
    ];
  }

  summary(miners: number): RunSummary {
    const { definition, phase, epoch, tokens, epochs, evaluations } = this.state;
    const { runId, name, preset, targetTokens } = definition;
    return {
      runId,
      name,
      preset,
      phase: phase.name,
      reason: reasonOf(this.state),
      weight: this.weight,
      miners,
      epoch,
      tokens,
      targetTokens,
      trainLossNats: epochs.at(-1)?.trainLossNats ?? null,
      validationLossNats: evaluations.at(-1)?.validationLossNats ?? null,
    };
  }
}

function blobsOf(checkpoint: Checkpoint | null): readonly BlobHash[] {
  return checkpoint?.stages.flatMap(({ weights, optimizer }) => [weights.hash, optimizer.hash]) ?? [];
}
