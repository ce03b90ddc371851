/**
 * One replica's training state around a stage: the optimizer, and the merge with the other replicas.
 *
 * - `sync`: an epoch is one step. Replicas contribute summed gradients; everyone adds them up, divides by the tokens
 *   and takes the same optimizer step.
 * - `local-steps`: every replica steps by itself and contributes its pseudo-gradient, start − now. Everyone averages
 *   them by tokens and takes the outer step from the epoch's start (Douillard 2023, alg. 1).
 *
 * The same contributions in the same order leave the same bits in every replica.
 */
import type { Device, Slice } from "./kernels.ts";
import { slice } from "./kernels.ts";
import { adamOptions } from "./model/adam.ts";
import type { TrainingConfig } from "./model/config.ts";
import { initialWeights } from "./model/initialise.ts";
import {
  allocateOptimizerState,
  optimizerStateLength,
  packOptimizerState,
  unpackOptimizerState,
} from "./model/optimizer-state.ts";
import type { Stage } from "./model/stage.ts";
import { NonFiniteError } from "./non-finite.ts";
import type { Contribution, ReplicaState } from "./worker-protocol.ts";

export interface Replica {
  /** Says that the gradients of so many more tokens have been added to the stage's. */
  addTokens(tokens: number): void;
  /** Forgets the gradients added since the last step. */
  clearGradients(): void;
  load(state: ReplicaState): void;
  state(): Promise<ReplicaState>;
  /** `gradientNorm` is the mean gradient's, before any clipping. */
  step(): Promise<{ readonly tokens: number; readonly gradientNorm: number }>;
  contribution(): Promise<Contribution>;
  merge(contributions: readonly Contribution[]): Promise<void>;
}

/** Draws the stage's initial weights and allocates its optimizer. */
export function createReplica(device: Device, stage: Stage, training: TrainingConfig): Replica {
  const { kernels } = device;
  const { memory, layout, parameters, gradients } = stage;
  const optimizer = allocateOptimizerState(memory, training.mode, layout.length);
  /** A contribution on its way in or out. */
  const exchange = memory.reals(layout.length);
  const epochStart = training.mode === "local-steps" ? memory.reals(layout.length) : null;
  const norm = memory.reals(1);
  let steps = 0;
  /** Whose gradients wait for a step. */
  let pendingTokens = 0;
  /** Whose gradients local steps of this epoch were taken on. */
  let steppedTokens = 0;

  device.upload(parameters, initialWeights(stage.model, layout, training.seed));
  startEpoch();

  function startEpoch(): void {
    if (epochStart) kernels.copy(epochStart, parameters);
    steppedTokens = 0;
  }

  function clearGradients(): void {
    kernels.fill(gradients, 0);
    pendingTokens = 0;
  }

  /** √Σx². Throws `NonFiniteError` unless it is a number. */
  async function finiteNorm(x: Slice, tensor: string): Promise<number> {
    kernels.squaredNorm(norm, x);
    const [square = Number.NaN] = await device.downloadDouble(norm);
    if (!Number.isFinite(square)) throw new NonFiniteError(tensor);
    return Math.sqrt(square);
  }

  /**
   * Steps on the mean of the summed gradients, and returns its norm before clipping. Norm gains lie behind the matrices and
   * do not decay. Throws `NonFiniteError`, and leaves everything as it was, when the norm is not a number.
   */
  async function takeStep(tokens: number): Promise<number> {
    const gradientNorm = (await finiteNorm(gradients, "gradients")) / tokens;
    steps++;
    const { decayedLength, length } = layout;
    const { clipGradientNorm } = training;
    const clipped = clipGradientNorm !== null && gradientNorm > clipGradientNorm ? clipGradientNorm / gradientNorm : 1;
    const gradientScale = clipped / tokens;
    const options = { ...adamOptions(training, stage.spec, steps), gradientScale };
    for (const [from, to, decayRate] of [
      [0, decayedLength, options.decayRate],
      [decayedLength, length, 0],
    ] as const) {
      if (from === to) continue;
      const range = (vector: Slice) => slice(vector.buffer, vector.offset + from, to - from);
      kernels.adam(range(parameters), range(gradients), range(optimizer.firstMoment), range(optimizer.secondMoment), {
        ...options,
        decayRate,
      });
    }
    return gradientNorm;
  }

  return {
    addTokens(tokens) {
      pendingTokens += tokens;
    },

    clearGradients,

    load({ weights, optimizer: packed }) {
      if (packed.length !== optimizerStateLength(training.mode, layout.length))
        throw new RangeError(`an optimizer state of ${packed.length} for ${layout.length} parameters`);
      const state = unpackOptimizerState(packed);
      device.upload(parameters, weights);
      device.upload(optimizer.vectors, state.vectors);
      steps = state.steps;
      clearGradients();
      startEpoch();
    },

    async state() {
      return {
        weights: await device.download(parameters),
        optimizer: packOptimizerState(await device.download(optimizer.vectors), steps),
      };
    },

    async step() {
      if (training.mode !== "local-steps") throw new Error("a replica in sync mode steps when it merges");
      const tokens = pendingTokens;
      if (tokens === 0) return { tokens, gradientNorm: 0 };
      try {
        const gradientNorm = await takeStep(tokens);
        steppedTokens += tokens;
        return { tokens, gradientNorm };
      } finally {
        clearGradients();
      }
    },

    async contribution() {
      if (!epochStart) {
        await finiteNorm(gradients, "gradients");
        return { values: await device.download(gradients), tokens: pendingTokens };
      }
      kernels.copy(exchange, epochStart);
      kernels.addScaled(exchange, parameters, -1);
      await finiteNorm(exchange, "pseudo-gradient");
      return { values: await device.download(exchange), tokens: steppedTokens };
    },

    async merge(contributions) {
      const tokens = contributions.reduce((sum, contribution) => sum + contribution.tokens, 0);
      clearGradients();
      try {
        // Their memory takes the sum: this replica's own gradients are in the list, if they count.
        for (const [index, { values, tokens: weight }] of contributions.entries()) {
          device.upload(exchange, values);
          await finiteNorm(exchange, `contributions[${index}]`);
          kernels.addScaled(gradients, exchange, epochStart ? weight / tokens : 1);
        }
        if (epochStart && optimizer.outerMomentum) {
          kernels.copy(parameters, epochStart);
          const { outerLearningRate: learningRate, outerMomentum: momentum } = training;
          if (tokens > 0)
            kernels.outerNesterov(parameters, optimizer.outerMomentum, gradients, { learningRate, momentum });
        } else if (tokens > 0) await takeStep(tokens);
        startEpoch();
      } finally {
        clearGradients();
      }
    },
  };
}
