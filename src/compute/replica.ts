/**
 * One replica's training state around a stage: the optimizer, and the merge with the other replicas.
 *
 * - `sync`: an epoch is one step. Replicas contribute summed gradients, which are added up; everyone divides the sum by the tokens
 *   and takes the same optimizer step.
 * - `local-steps`: every replica steps by itself and contributes its pseudo-gradient, start − now. They are averaged by tokens, and
 *   everyone takes the outer step from the epoch's start (Douillard 2023, alg. 1).
 *
 * Contributions are encoded, averaged and decoded by `merge/compressed-merge.ts`. The same merged slices leave the same bits in every
 * replica.
 */
import { createHash } from "node:crypto";
import { bytesOf } from "../protocol/identity.ts";
import { type BlobHash, blobHashSchema } from "../protocol/ids.ts";
import type { Device, Slice } from "./kernels.ts";
import type { CompressedMerge } from "./merge/compressed-merge.ts";
import { adamOptions } from "./model/adam.ts";
import type { TrainingConfig } from "./model/config.ts";
import { initialWeights } from "./model/initialise.ts";
import type { TensorLayout } from "./model/layout.ts";
import { type LazyVector, rowsOf } from "./model/memory.ts";
import { compactOptimizerState, loadOptimizerState, packOptimizerState } from "./model/optimizer-state.ts";
import { createReplicaMemory } from "./model/replica-memory.ts";
import type { Stage } from "./model/stage.ts";
import { checkFinite, finiteNorm } from "./non-finite.ts";
import { createStepExchange, type StepAverage, type StepContribution } from "./step-exchange.ts";
import type { CompactState, Contribution, ReplicaState, SliceRange } from "./worker-protocol.ts";

export interface Replica {
  /** Says that the gradients of so many more tokens have been added to the stage's. */
  addTokens(tokens: number): void;
  /** Forgets the gradients added since the last step. */
  clearGradients(): void;
  load(state: ReplicaState | CompactState): void;
  state(): Promise<ReplicaState>;
  moments(): Promise<Uint8Array | null>;
  epochStart(): Promise<Float32Array>;
  /** `gradientNorm` is the mean gradient's, before any clipping. */
  step(): Promise<{ readonly tokens: number; readonly gradientNorm: number }>;
  /** As `step`, for a step that is averaged with other replicas (`step-exchange.ts`): what it moved, encoded. */
  stepDelta(seed: number): Promise<{
    readonly tokens: number;
    readonly gradientNorm: number;
    readonly parts: readonly Uint8Array[];
  }>;
  applyExchange(contributions: readonly StepContribution[]): StepAverage;
  contribution(partitions: readonly SliceRange[]): Promise<Contribution>;
  weightsHash(): Promise<BlobHash>;
  beginMerge(): void;
  mergeSlice(slice: SliceRange, payload: Uint8Array): void;
  applyMerged(tokens: number, counted: boolean): Promise<void>;
}

/** Draws the stage's initial weights. `merge` outlives replicas of the same stage of the same run. */
export function createReplica(device: Device, stage: Stage, training: TrainingConfig, merge: CompressedMerge): Replica {
  const { kernels } = device;
  const { memory, layout, parameters, gradients, scratch } = stage;
  const { optimizer, epochStart, exchange, ...more } = createReplicaMemory(memory, training, layout.length);
  const { exchange: exchanged } = training.compression;
  const stepExchange =
    exchanged && more.stepExchange && createStepExchange(device, parameters, exchanged.codec, more.stepExchange);
  const isLocal = training.mode === "local-steps";
  const hasOuterMomentum = training.outerMomentum !== 0;
  const whole: Span = { from: 0, to: layout.length };
  let steps = 0;
  /** Whether the parameters have left the epoch's start; until then it is not kept apart from them. */
  let hasMoved = false;
  /** Whose gradients wait for a step. */
  let pendingTokens = 0;
  /** Whose gradients local steps of this epoch were taken on. */
  let steppedTokens = 0;
  /** Where the gradients hold merged slices. */
  let merged: readonly Span[] = [];

  for (const { offset, values } of initialWeights(stage.model, layout, training.seed))
    device.upload(range(parameters, offset, values.length), values);

  function startEpoch(): void {
    hasMoved = false;
    steppedTokens = 0;
    stepExchange?.restart();
  }

  function leaveEpochStart(): void {
    if (!hasMoved) kernels.copy(epochStart.use(), parameters);
    hasMoved = true;
  }

  function clearGradients(): void {
    kernels.fill(gradients, 0);
    pendingTokens = 0;
    merged = [];
  }

  /**
   * Of the summed gradients. Throws `NonFiniteError` with the name of the weights whose gradient is broken; of several the last:
   * on its way back from the loss, what is broken breaks all that comes after.
   */
  function gradientSumNorm(): Promise<number> {
    const isGain = ({ role }: TensorLayout) => Number(role === "gain");
    const backwards = layout.tensors.toReversed().toSorted((a, b) => isGain(a) - isGain(b));
    const parts = backwards.map(({ name, offset, length }) => [name, range(gradients, offset, length)] as const);
    return finiteNorm(device, scratch.sum, ["gradients", gradients], parts);
  }

  /** Parts of vectors laid out as the weights, no longer than `exchange`, one after the other. */
  function parts({ from, length }: SliceRange = { from: 0, length: layout.length }): readonly SliceRange[] {
    return Array.from({ length: Math.ceil(length / exchange.length) }, (_, index) => {
      const before = index * exchange.length;
      return { from: from + before, length: Math.min(exchange.length, length - before) };
    });
  }

  /** Of what this replica contributes. Throws `NonFiniteError`. */
  async function contributed(slice: SliceRange): Promise<Float32Array> {
    if (!isLocal) return device.download(range(gradients, slice.from, slice.length));
    const values = new Float32Array(slice.length);
    if (!hasMoved) return values;
    for (const { from, length } of parts(slice)) {
      const part = range(exchange.use(), 0, length);
      kernels.copy(part, range(epochStart.use(), from, length));
      kernels.addScaled(part, range(parameters, from, length), -1);
      await device.download(part, values.subarray(from - slice.from, from - slice.from + length));
    }
    checkFinite(values, "pseudo-gradient");
    return values;
  }

  /**
   * Begins a step on the mean of the summed gradients: `take` takes it within a range of the weights. `gradientNorm` is theirs before
   * clipping. Norm gains lie behind the matrices and do not decay. Throws `NonFiniteError`, and leaves everything as it was, when the
   * norm is not a number.
   */
  async function beginStep(tokens: number) {
    const gradientNorm = (await gradientSumNorm()) / tokens;
    const [firstMoment, secondMoment] = [optimizer.firstMoment.use(), optimizer.secondMoment.use()];
    if (isLocal) leaveEpochStart();
    steps++;
    const { decayedLength, length } = layout;
    const { clipGradientNorm } = training;
    const clipped = clipGradientNorm !== null && gradientNorm > clipGradientNorm ? clipGradientNorm / gradientNorm : 1;
    const gradientScale = clipped / tokens;
    const options = { ...adamOptions(training, stage.spec, steps), gradientScale };
    const take = (...spans: readonly Span[]) => {
      for (const { from, to, decayRate } of [
        ...within(spans, { from: 0, to: decayedLength }).map((span) => ({ ...span, decayRate: options.decayRate })),
        ...within(spans, { from: decayedLength, to: length }).map((span) => ({ ...span, decayRate: 0 })),
      ]) {
        const part = (vector: Slice) => range(vector, from, to - from);
        kernels.adam(part(parameters), part(gradients), part(firstMoment), part(secondMoment), {
          ...options,
          decayRate,
        });
      }
    };
    return { gradientNorm, take };
  }

  /** On the averaged pseudo-gradient, which `gradients` hold within the spans given. */
  function takeOuterStep(velocity: LazyVector, spans: readonly Span[]): void {
    const { outerLearningRate: learningRate, outerMomentum: momentum } = training;
    for (const { from, to } of spans) {
      const part = (vector: Slice) => range(vector, from, to - from);
      if (momentum === 0) kernels.addScaled(part(parameters), part(gradients), -learningRate);
      else kernels.outerNesterov(part(parameters), part(velocity.use()), part(gradients), { learningRate, momentum });
    }
  }

  return {
    addTokens(tokens) {
      pendingTokens += tokens;
    },

    clearGradients,

    load(state) {
      steps = loadOptimizerState(device, optimizer, state, hasOuterMomentum);
      device.upload(parameters, state.weights);
      merge.end(false);
      clearGradients();
      startEpoch();
    },

    async state() {
      return {
        weights: await device.download(parameters),
        optimizer: await packOptimizerState(device, optimizer, steps),
      };
    },

    moments: async () => (isLocal ? compactOptimizerState(device, optimizer, steps, hasOuterMomentum) : null),

    epochStart: () => device.download(hasMoved ? epochStart.use() : parameters),

    async step() {
      if (!isLocal) throw new Error("a replica in sync mode steps when it merges");
      const tokens = pendingTokens;
      if (tokens === 0) return { tokens, gradientNorm: 0 };
      try {
        const { gradientNorm, take } = await beginStep(tokens);
        take(whole);
        steppedTokens += tokens;
        return { tokens, gradientNorm };
      } finally {
        clearGradients();
      }
    },

    async stepDelta(seed) {
      if (stepExchange === null) throw new Error("a replica that exchanges no steps");
      const tokens = pendingTokens;
      if (tokens === 0) return { tokens, gradientNorm: 0, parts: [] };
      try {
        const { gradientNorm, take } = await beginStep(tokens);
        const parts = await stepExchange.move((from, to) => take({ from, to }), seed);
        steppedTokens += tokens;
        return { tokens, gradientNorm, parts };
      } finally {
        clearGradients();
      }
    },

    applyExchange(contributions) {
      if (stepExchange === null) throw new Error("a replica that exchanges no steps");
      leaveEpochStart();
      return stepExchange.average(contributions);
    },

    async contribution(partitions) {
      const tokens = isLocal ? steppedTokens : pendingTokens;
      if (tokens === 0) return { slices: [], tokens };
      if (!isLocal) await gradientSumNorm();
      return { slices: await merge.contribute(partitions, contributed), tokens };
    },

    async weightsHash() {
      const hash = createHash("sha256");
      for (const { from, length } of parts())
        hash.update(bytesOf(await device.download(range(parameters, from, length))));
      return blobHashSchema.parse(hash.digest("hex"));
    },

    // Merged slices lie in the gradients' memory: this replica's own are in the slices, if they count.
    beginMerge: clearGradients,

    mergeSlice({ from, length }, payload) {
      device.upload(range(gradients, from, length), merge.merged(payload, length));
      merged = joined([...merged, { from, to: from + length }]);
    },

    async applyMerged(tokens, counted) {
      try {
        if (isLocal && hasMoved) kernels.copy(parameters, epochStart.use());
        if (merged.length > 0 && optimizer.outerMomentum) takeOuterStep(optimizer.outerMomentum, merged);
        else if (merged.length > 0) (await beginStep(tokens)).take(...merged);
        merge.end(counted);
        startEpoch();
      } finally {
        clearGradients();
      }
    },
  };
}

/** Elements `from` … `to` − 1 of vectors laid out as the weights. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** The same elements in as few spans as there can be, in order. */
function joined(spans: readonly Span[]): readonly Span[] {
  const result: Span[] = [];
  for (const span of spans.toSorted((a, b) => a.from - b.from)) {
    const last = result.at(-1);
    if (last === undefined || last.to < span.from) result.push(span);
    else result[result.length - 1] = { from: last.from, to: Math.max(last.to, span.to) };
  }
  return result;
}

/** Those parts of the spans that lie within `limits`. */
function within(spans: readonly Span[], limits: Span): readonly Span[] {
  return spans
    .map(({ from, to }) => ({ from: Math.max(from, limits.from), to: Math.min(to, limits.to) }))
    .filter(({ from, to }) => from < to);
}

/** `length` elements of a vector, from element `from` on. */
function range(vector: Slice, from: number, length: number): Slice {
  return rowsOf(vector, 1, from, length);
}
