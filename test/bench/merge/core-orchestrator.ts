/**
 * Lets the orchestrator's real core lead replicas through one epoch of a run of one stage. What comes before the merge — joining,
 * loading, training — is said for them.
 */
import { presets } from "../../../src/compute/model/presets.ts";
import { parameterCount, wholeModel } from "../../../src/compute/model/stages.ts";
import type { MergeOutcome } from "../../../src/miner/merge/fake-orchestrator.ts";
import { type FakeSwarm, fakePlace } from "../../../src/miner/merge/fake-swarm.ts";
import { apply } from "../../../src/network/orchestrator/core/apply.ts";
import { defaultTimeouts, type RunDefinition } from "../../../src/network/orchestrator/core/definition.ts";
import type { Effect, MinerMessage, RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import { createRun, nextDeadlineMs, type RunState } from "../../../src/network/orchestrator/core/state.ts";
import type { ClientMessage } from "../../../src/protocol/client-messages.ts";
import type { DeviceReport } from "../../../src/protocol/device-report.ts";
import type { BlobHash, MinerId } from "../../../src/protocol/ids.ts";
import { partitionCount } from "../../../src/protocol/partitions.ts";
import { type ModelConfig, noCompression, type VectorCodec } from "../../../src/protocol/run-config.ts";

const startMs = 1_800_000_000_000;

const device: DeviceReport = {
  platform: "test",
  cpu: "test",
  cores: 1,
  memoryBytes: 2 ** 40,
  memoryLimitBytes: 2 ** 40,
  maximumStages: 64,
  backend: "reference",
  precision: "f32",
  adapter: null,
  blockTokensPerSecond: null,
};

/** The smallest model with at least so many parameters: a vocabulary of two channels is what makes it large. */
function modelOf(parameters: number): ModelConfig {
  const model = {
    ...presets.tiny.model,
    vocabulary: 1,
    width: 2,
    layers: 1,
    heads: 1,
    keyValueHeads: 1,
    feedForward: 1,
  };
  const perToken = parameterCount({ ...model, vocabulary: 2 }) - parameterCount(model);
  return { ...model, vocabulary: 1 + Math.max(0, Math.ceil((parameters - parameterCount(model)) / perToken)) };
}

/** A run whose only stage has about so many parameters; how many exactly is the second. */
export function mergeRun(
  replicas: number,
  parameters: number,
  merge: VectorCodec,
): { run: RunDefinition; parameters: number } {
  const model = modelOf(parameters);
  const exact = parameterCount(model);
  const run: RunDefinition = {
    runId: fakePlace.at.runId,
    name: "Merge",
    preset: "tiny",
    model,
    training: { ...presets.tiny.training, microbatchesPerStep: 64, compression: { ...noCompression, merge } },
    tokenizer: "bytes",
    dataset: fakePlace.dataset,
    stages: 1,
    minimumReplicas: replicas,
    targetTokens: null,
    timeouts: defaultTimeouts(exact),
  };
  return { run, parameters: exact };
}

/** Where its replicas are. */
export function mergePlace({ model, training }: RunDefinition): typeof fakePlace {
  return { ...fakePlace, at: { ...fakePlace.at, epoch: 0, stage: 0 }, model, training, stage: wholeModel(model) };
}

export class CoreOrchestrator {
  readonly #swarm: FakeSwarm;
  readonly #merged = new Map<MinerId, BlobHash>();
  readonly #contributors = new Set<MinerId>();
  readonly #outliers = new Set<MinerId>();
  #state: RunState;
  #cancelDeadline = () => {};

  constructor(swarm: FakeSwarm, run: RunDefinition) {
    this.#swarm = swarm;
    this.#state = createRun(run, startMs);
    swarm.onReport = (from, message) => this.#reported(from, message);
    swarm.onDeath = (minerId) => this.#happen({ type: "session-closed", minerId });
  }

  get #isMerged(): boolean {
    return this.#state.epoch > 0;
  }

  /** When nobody is left, or the epoch has to be tried again, all is lost. */
  async merge(): Promise<MergeOutcome> {
    const { members, live } = this.#swarm;
    for (const { id } of members) this.#say(id, { type: "join", device, held: [] });
    const isLost = () => live.size === 0 || this.#state.attempt > 0;
    await this.#swarm.until(() => this.#isMerged || isLost());
    const { model, training } = this.#state.definition;
    const partitions = partitionCount(members.length, parameterCount(model), training.compression.merge);
    return {
      weightsHashes: new Set([...this.#merged].filter(([id]) => live.has(id)).map(([, hash]) => hash)),
      lost: this.#isMerged ? this.#state.partitionsLost : partitions,
      contributors: [...this.#contributors],
      outliers: this.#outliers,
    };
  }

  #reported(from: MinerId, message: ClientMessage): void {
    if (message.type === "merged") this.#merged.set(from, message.weightsHash);
    if (message.type === "reduced") for (const outlier of message.outliers) this.#outliers.add(outlier);
    this.#say(from, message as MinerMessage);
  }

  #say(from: MinerId, message: MinerMessage): void {
    this.#happen({ type: "message", from, name: from.slice(-4), message });
  }

  #happen(happening: RunEvent extends infer E ? (E extends RunEvent ? Omit<E, "atMs"> : never) : never): void {
    const { clock } = this.#swarm;
    const event = { ...happening, atMs: startMs + clock.nowMs() } as RunEvent;
    const { state, effects } = apply(this.#state, event);
    this.#state = state;
    for (const { minerId } of state.uncredited) this.#contributors.add(minerId);
    this.#cancelDeadline();
    const deadlineMs = nextDeadlineMs(state);
    if (deadlineMs !== null)
      this.#cancelDeadline = clock.after(Math.max(1, deadlineMs - event.atMs), () =>
        this.#happen({ type: "deadline" }),
      );
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: Effect): void {
    if (effect.type !== "send" || this.#isMerged) return;
    const { to, message } = effect;
    switch (message.type) {
      case "prepare":
        queueMicrotask(() => this.#say(to, { type: "ready", at: message.at, weightsHash: this.#initialHash(to) }));
        break;
      case "start":
        queueMicrotask(() =>
          this.#say(to, { type: "source-done", at: message.at, microbatchesDone: 1, microbatchesLost: 0 }),
        );
        break;
      case "take-snapshot":
      case "store-checkpoint":
      case "abandon-checkpoint":
      case "idle":
      case "roster":
        break; // the swarm's members know who lives, and the merge is over
      default:
        this.#swarm.order(to, message);
    }
  }

  #initialHash(id: MinerId): BlobHash {
    return this.#swarm.member(id).engine.weightsHash();
  }
}
