/** One run of a network: its orchestrator, and what the parts around it need to know of its state. */
import type { Manifest } from "../../compute/data/manifest.ts";
import type { BlobHash, MinerId, RunId } from "../../protocol/ids.ts";
import type { Checkpoint, RunSummary } from "../../protocol/run-view.ts";
import { datasetBlobs } from "../dataset/prepare-dataset.ts";
import type { RunDefinition } from "../orchestrator/core/definition.ts";
import { reasonOf } from "../orchestrator/core/reason.ts";
import { epochMembers, isLive } from "../orchestrator/core/replicas.ts";
import { isNeeded } from "../orchestrator/core/start.ts";
import { isAway, type RunState } from "../orchestrator/core/state.ts";
import type { Orchestrator } from "../orchestrator/orchestrator.ts";
import { UploadBudgets } from "./upload-budgets.ts";
import type { Abilities, Employer } from "./workforce.ts";

export class ServedRun implements Employer {
  readonly orchestrator: Orchestrator;
  readonly manifest: Manifest;
  /** In proportion to it the run gets a share of the network's capacity. */
  weight: number;
  readonly uploads = new UploadBudgets(() => this.state);
  /** Who is in the epoch, as long as its replicas are these. */
  #epoch: {
    readonly of: RunState["replicas"];
    readonly members: ReadonlySet<MinerId>;
    readonly live: ReadonlySet<MinerId>;
  } = {
    of: [],
    members: new Set(),
    live: new Set(),
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

  get isActive(): boolean {
    return this.state.intent === "run" && !this.isAtRest;
  }

  /** No epoch is under way, and none will be until its owner wants it. */
  get isAtRest(): boolean {
    const { name } = this.state.phase;
    return name === "paused" || name === "finished";
  }

  get stageBytes(): readonly number[] {
    return this.state.needs.map(({ memoryBytes }) => memoryBytes);
  }

  /** Whether it has a place in the epoch that is under way. */
  isInEpoch(minerId: MinerId): boolean {
    return this.#inEpoch.members.has(minerId);
  }

  trains(minerId: MinerId): boolean {
    return this.#inEpoch.live.has(minerId);
  }

  canRelease(minerId: MinerId): boolean {
    const { name } = this.state.phase;
    if (name === "storing") return !isNeeded(this.state, minerId);
    return name === "waiting" || name === "preparing" || this.isAtRest || !this.trains(minerId);
  }

  /** Members whose session is gone: after a restart, all that it had. */
  get absent(): readonly (Abilities & { readonly minerId: MinerId })[] {
    const { members } = this.state;
    return members
      .filter(({ minerId }) => isAway(this.state, minerId))
      .map(({ minerId, probedRate, memoryLimitBytes }) => ({
        minerId,
        tokensPerSecond: probedRate,
        memoryBytes: memoryLimitBytes,
      }));
  }

  /** What it refers to: dataset, last two checkpoints, and what has come of the one that is being uploaded. */
  get blobs(): readonly BlobHash[] {
    const { checkpoint, previousCheckpoint, upload } = this.state;
    return [
      ...datasetBlobs(this.definition.dataset.manifest, this.manifest),
      ...blobsOf(checkpoint),
      ...blobsOf(previousCheckpoint),
      ...blobsOf(upload),
    ];
  }

  get #inEpoch(): { readonly members: ReadonlySet<MinerId>; readonly live: ReadonlySet<MinerId> } {
    const { replicas } = this.state;
    if (this.#epoch.of !== replicas)
      this.#epoch = {
        of: replicas,
        members: epochMembers(this.state),
        live: new Set(replicas.flatMap((ofStage) => ofStage.filter(isLive).map(({ minerId }) => minerId))),
      };
    return this.#epoch;
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

function blobsOf(checkpoint: Pick<Checkpoint, "stages"> | null): readonly BlobHash[] {
  return checkpoint?.stages.flatMap(({ weights, optimizer }) => [weights.hash, optimizer.hash]) ?? [];
}
