/**
 * What the miner daemon asks of a compute worker, a child process that owns one device. One request, one reply, matched
 * by `id`, over Node's IPC channel with `serialization: "advanced"`, which carries typed arrays. Requests are executed in
 * order, one at a time. The worker trusts its parent: inputs were validated at the daemon's boundary.
 *
 * Numbers: tokens and targets are int32 [tokens], with tokens = sequences · sequenceLength of one microbatch. Activations and their
 * gradients are payloads of `codec/rows.ts`, [tokens, channels of the boundary], made and read in here: to the daemon they are bytes.
 */

import type { BoundaryHealth } from "../protocol/client-messages.ts";
import type { DetectedDevice } from "../protocol/device-probe.ts";
import type { BlobHash, RunId } from "../protocol/ids.ts";
import type { RowFormat } from "../protocol/run-config.ts";
import type { DeviceDescription, DeviceKind, Precision } from "./kernels.ts";
import type { AverageRequest } from "./merge/compressed-merge.ts";
import type { RestoredResidual } from "./merge/error-feedback.ts";
import type { ModelConfig, StageSpec, TrainingConfig } from "./model/config.ts";
import type { MemoryPlan } from "./model/memory-plan.ts";
import type { StepAverage, StepContribution } from "./step-exchange.ts";

/** Names a microbatch within one epoch attempt; unique among the stage's microbatches in flight. */
export type MicrobatchKey = string;

export interface OpenOptions {
  readonly backend: DeviceKind;
  readonly threads: number;
  /** "f32" when left out; weights, gradients and optimizer state are f32 in any. */
  readonly precision?: Precision;
  /** For `webgpu`: part of the name of the GPU to use, as `listAdapters` gives it; the one it names first when left out. */
  readonly adapter?: string;
  readonly model: ModelConfig;
  readonly stage: StageSpec;
  readonly training: TrainingConfig;
  /** What the stage may take on the device; as much as there is when left out. */
  readonly memoryLimitBytes?: number;
  /** How many microbatches there must be room for between their forward and their backward pass; 1 when left out. */
  readonly microbatchesInFlight?: number;
  /** What was rounded away of earlier contributions is kept when the same stage of the same run is opened again; else forgotten. */
  readonly run?: RunId;
}

/**
 * Everything a replica needs to go on: `weights` is the stage's parameter vector; `optimizer` holds the optimizer's moments,
 * the outer momentum and the step count, as one vector laid out by `model/optimizer-state.ts`.
 */
export interface ReplicaState {
  readonly weights: Float32Array;
  readonly optimizer: Float32Array;
}

/** As `ReplicaState`, with `moments` for the optimizer's memory. */
export interface CompactState {
  readonly weights: Float32Array;
  /** `codec/moments.ts`. */
  readonly moments: Uint8Array;
}

/** Elements `from` … `from + length − 1` of the parameter vector. */
export interface SliceRange {
  readonly from: number;
  readonly length: number;
}

/** One replica's share of a merge: summed gradients (`sync`) or the pseudo-gradient start − now (`local-steps`). */
export interface Contribution {
  /** Payloads (`codec/vector.ts`), one per slice asked for; none without tokens. */
  readonly slices: readonly Uint8Array[];
  /** Tokens whose backward pass went into it; its weight in the average. */
  readonly tokens: number;
}

export interface ComputeCalls {
  /**
   * Builds the stage with weights drawn from `training.seed`, independent of how the model is cut. Replaces an open one. Recomputes
   * activations when the limit leaves no room to keep them, and is refused when that is not enough.
   */
  open(options: OpenOptions): {
    readonly device: DeviceDescription;
    readonly parameters: number;
    readonly memory: MemoryPlan;
  };
  /** Replaces weights and optimizer state; drops microbatches in flight and accumulated gradients; starts an epoch. */
  load(state: ReplicaState | CompactState): void;
  state(): ReplicaState;
  /**
   * The optimizer's memory in about two bytes per parameter, six with outer momentum, for those who join. Null in `sync` mode, where all
   * replicas have to have the same to the last bit.
   */
  moments(): Uint8Array | null;
  /** What this epoch began with, whatever has been trained since. */
  epochStart(): Float32Array;
  /** SHA-256 of the weights as raw f32. */
  weightsHash(): BlobHash;
  /** Forward of the first stage (`tokens`) or of a later one (`activations`), not the last. Keeps what backward needs. */
  forward(input: StageInput & { readonly send: { readonly format: RowFormat } }): {
    readonly activations: Uint8Array;
    readonly boundary: BoundaryHealth;
  };
  /** The last stage's forward, loss and backward in one go. With a single stage `inputGradient` is null. Loss is summed over tokens, nats. */
  forwardBackward(input: StageInput & { readonly targets: Int32Array; readonly send: GradientFormat | null }): {
    readonly lossSumNats: number;
    readonly inputGradient: Uint8Array | null;
  };
  /** Backward of a stage that is not the last; accumulates parameter gradients. The first stage returns null. */
  backward(request: {
    readonly microbatch: MicrobatchKey;
    readonly gradient: Uint8Array;
    readonly send: GradientFormat | null;
  }): { readonly inputGradient: Uint8Array | null };
  /** Forgets microbatches whose backward will not come. */
  discard(request: { readonly microbatches: readonly MicrobatchKey[] }): void;
  /** One local optimizer step on the accumulated gradients ÷ their tokens (`local-steps`); does nothing when none were accumulated. */
  step(): { readonly tokens: number; readonly gradientNorm: number };
  /**
   * As `step`, in a run whose replicas average every step: also gives what it moved, encoded in the parts of `exchangeParts`; none
   * without tokens. What is rounded away goes along with the next step. `seed`: 32 bits, new for every step and replica.
   */
  stepDelta(request: { readonly seed: number }): {
    readonly tokens: number;
    readonly gradientNorm: number;
    readonly parts: readonly Uint8Array[];
  };
  /**
   * The average of what a step moved, in this order and weighted by tokens, takes the place of this replica's own. The same
   * contributions leave all replicas that were equal before the step equal, but for what each has still to send of its own.
   */
  applyExchange(request: { readonly contributions: readonly StepContribution[] }): StepAverage;
  /** What was rounded away goes into the next contribution if this one counts (`applyMerged`), and is taken back when it does not. */
  contribution(request: { readonly partitions: readonly SliceRange[] }): Contribution;
  /**
   * The average of one slice, encoded as the contributions are: the same bytes on every machine. Null: there is nothing to average.
   * `outliers`: contributions that were left out because of what they hold, or because they do not decode.
   */
  average(request: AverageRequest): { readonly payload: Uint8Array | null; readonly outliers: readonly number[] };
  /** Makes room for merged slices: drops microbatches in flight and accumulated gradients. May be called again to begin anew. */
  beginMerge(): void;
  /** One merged slice: the mean pseudo-gradient, or the summed gradients. */
  mergeSlice(request: SliceRange & { readonly payload: Uint8Array }): void;
  /**
   * Takes the optimizer (`sync`: on the gradients ÷ tokens) or outer (`local-steps`) step from the epoch's start, and starts the next
   * epoch. Weights and momentum of what no slice came for stay as they were at the epoch's start. Replicas given the same slices end
   * bit-identical. `counted`: whether this replica's contribution is among what was merged.
   */
  applyMerged(request: { readonly tokens: number; readonly counted: boolean }): void;
  /** What the next contribution carries on, for safe-keeping; null: nothing. */
  residual(): Uint8Array | null;
  /** Takes up what `residual` gave, unless there is something newer here. */
  loadResidual(request: { readonly payload: Uint8Array }): RestoredResidual;
  /** Whole model only (one stage): summed loss in nats, nothing kept. */
  evaluate(request: { readonly tokens: Int32Array; readonly targets: Int32Array; readonly sequences: number }): {
    readonly lossSumNats: number;
  };
  /** Whole model only: continues `prompt` by `count` tokens with a key-value cache. Temperature 0 takes the likeliest token. */
  generate(request: {
    readonly prompt: Int32Array;
    readonly count: number;
    readonly temperature: number;
    readonly seed: number;
    readonly firstDraw?: number;
  }): { readonly tokens: Int32Array };
  /** Multiplies matrices on the open device, `times` over, and returns when that is done: whoever asks takes the time. */
  multiply(request: Multiplication): void;
  /** Needs no open stage: all of this machine's devices of one back end, in each of their precisions. */
  devices(request: { readonly backend: DeviceKind }): readonly DetectedDevice[];
}

/** [m, k] · [n, k]ᵀ. */
export interface Multiplication {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly times: number;
}

export type StageInput = {
  readonly microbatch: MicrobatchKey;
  /** Sequences in this microbatch. */
  readonly sequences: number;
} & (
  | { readonly tokens: Int32Array }
  | { readonly activations: Uint8Array /** Tokens in it. */; readonly rows: number }
);

/** How the input's gradient is to be sent; null where there is no stage to send it to. `noise`: seed of what is random in its rounding. */
export interface GradientFormat {
  readonly format: RowFormat;
  readonly noise: number;
}

export type ComputeMethod = keyof ComputeCalls;
export type ComputeArguments<M extends ComputeMethod> = Parameters<ComputeCalls[M]>;
export type ComputeResult<M extends ComputeMethod> = ReturnType<ComputeCalls[M]>;

/** Whoever answers the calls: a worker, seen from its parent. */
export interface ComputeCaller {
  call<M extends ComputeMethod>(method: M, ...args: ComputeArguments<M>): Promise<ComputeResult<M>>;
}

export interface ComputeRequest<M extends ComputeMethod = ComputeMethod> {
  readonly id: number;
  readonly method: M;
  readonly arguments: ComputeArguments<M>;
}

export type ComputeReply =
  | { readonly id: number; readonly ok: true; readonly result: unknown }
  | { readonly id: number; readonly ok: false; readonly error: ComputeFailure };

/**
 * `non-finite`: NaN or infinity in `tensor`; the microbatch is not trained on. `malformed`: nor on a payload that nobody could have made
 * of numbers. `memory`: the device is full.
 * `device-lost`: the device went away, with all it held. `unavailable`: there is none. `bug`: anything else.
 */
export type ComputeFailure =
  | { readonly kind: "non-finite"; readonly tensor: string; readonly message: string }
  | { readonly kind: "malformed"; readonly message: string }
  | { readonly kind: "memory"; readonly requestedBytes: number; readonly message: string }
  | { readonly kind: "device-lost"; readonly message: string }
  | { readonly kind: "unavailable"; readonly message: string }
  | { readonly kind: "bug"; readonly message: string };
