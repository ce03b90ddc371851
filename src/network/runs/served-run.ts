/** One run of a network: its orchestrator, and what the parts around it need to know of its state. */
import type { Manifest } from "../../compute/data/manifest.ts";
import type { BlobHash, MinerId, RunId } from "../../protocol/ids.ts";
import type { Checkpoint, RunSummary } from "../../protocol/run-view.ts";
import { datasetBlobs } from "../dataset/prepare-dataset.ts";
import type { RunDefinition } from "../orchestrator/core/definition.ts";
import { reasonOf } from "../orchestrator/core/reason.ts";
import { epochMembers } from "../orchestrator/core/replicas.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import type { Orchestrator } from "../orchestrator/orchestrator.ts";
import { UploadBudgets } from "./upload-budgets.ts";

export class ServedRun {
  readonly orchestrator: Orchestrator;
  readonly manifest: Manifest;
  /** In proportion to it the run gets a share of the network's capacity. */
  weight: number;
  readonly uploads = new UploadBudgets(() => this.state);
  /** Of the epoch, as long as the replicas are these. */
  #members: { readonly of: RunState["replicas"]; readonly miners: ReadonlySet<MinerId> } = {
    of: [],
    miners: new Set(),
  };

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

  /** Whether it has a place in the epoch that is under way. */
  isInEpoch(minerId: MinerId): boolean {
    const { state } = this;
    if (this.#members.of !== state.replicas) this.#members = { of: state.replicas, miners: epochMembers(state) };
    return this.#members.miners.has(minerId);
  }

  /** Whether nothing that the miner has trained for this run would be lost with it. */
  canRelease(minerId: MinerId): boolean {
    const { name } = this.state.phase;
    return name === "waiting" || name === "preparing" || this.isAtRest || !this.isInEpoch(minerId);
  }

  /** Those that worked for it in this epoch and are gone: after a restart, all that it had. */
  get lostMiners(): readonly MinerId[] {
    const { away, departed, epoch } = this.state;
    return [...away, ...departed.filter((one) => one.epoch === epoch)].map(({ minerId }) => minerId);
  }

  /** What it refers to: dataset, last two checkpoints, and what is stored of the next one. */
  get blobs(): readonly BlobHash[] {
    const { checkpoint, previousCheckpoint, phase } = this.state;
    const merges = phase.name === "merging" ? phase.stages : [];
    return [
      ...datasetBlobs(this.definition.dataset.manifest, this.manifest),
      ...blobsOf(checkpoint),
      ...blobsOf(previousCheckpoint),
      ...merges.flatMap(({ step }) => (step.name === "stored" ? [step.weights.hash, step.optimizer.hash] : [])),
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
