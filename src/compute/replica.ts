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
import { adamOptions } from "./model/adam.ts";
import type { TrainingConfig } from "./model/config.ts";
import { initialWeights } from "./model/initialise.ts";
import type { TensorLayout } from "./model/layout.ts";
import { type LazyVector, rowsOf } from "./model/memory.ts";
import { packOptimizerState, unpackOptimizerState } from "./model/optimizer-state.ts";
import { createReplicaMemory } from "./model/replica-memory.ts";
import type { Stage } from "./model/stage.ts";
import { checkFinite, finiteNorm } from "./non-finite.ts";
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

/** Draws the stage's initial weights. */
export function createReplica(device: Device, stage: Stage, training: TrainingConfig): Replica {
  const { kernels } = device;
  const { memory, layout, parameters, gradients, scratch } = stage;
  const { optimizer, epochStart, exchange } = createReplicaMemory(memory, training, layout.length);
  const isLocal = training.mode === "local-steps";
  let steps = 0;
  /** Whether the parameters have left the epoch's start; until then it is not kept apart from them. */
  let hasMoved = false;
  /** Whose gradients wait for a step. */
  let pendingTokens = 0;
  /** Whose gradients local steps of this epoch were taken on. */
  let steppedTokens = 0;

  for (const { offset, values } of initialWeights(stage.model, layout, training.seed))
    device.upload(range(parameters, offset, values.length), values);

  function startEpoch(): void {
    hasMoved = false;
    steppedTokens = 0;
  }

  function leaveEpochStart(): void {
    if (!hasMoved) kernels.copy(epochStart.use(), parameters);
    hasMoved = true;
  }

  function clearGradients(): void {
    kernels.fill(gradients, 0);
    pendingTokens = 0;
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

  /** The parts of vectors laid out as the weights that go through `exchange`, one after the other. */
  function exchanged(): { readonly from: number; readonly length: number; readonly part: Slice }[] {
    return Array.from({ length: Math.ceil(layout.length / exchange.length) }, (_, index) => {
      const from = index * exchange.length;
      const length = Math.min(exchange.length, layout.length - from);
      return { from, length, part: range(exchange.use(), 0, length) };
    });
  }

  /**
   * Steps on the mean of the summed gradients, and returns its norm before clipping. Norm gains lie behind the matrices and
   * do not decay. Throws `NonFiniteError`, and leaves everything as it was, when the norm is not a number.
   */
  async function takeStep(tokens: number): Promise<number> {
    const gradientNorm = (await gradientSumNorm()) / tokens;
    const [firstMoment, secondMoment] = [optimizer.firstMoment.use(), optimizer.secondMoment.use()];
    if (isLocal) leaveEpochStart();
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
      const part = (vector: Slice) => range(vector, from, to - from);
      kernels.adam(part(parameters), part(gradients), part(firstMoment), part(secondMoment), { ...options, decayRate });
    }
    return gradientNorm;
  }

  /** On the averaged pseudo-gradient, which `gradients` hold. */
  function takeOuterStep(velocity: LazyVector): void {
    const { outerLearningRate: learningRate, outerMomentum: momentum } = training;
    if (momentum === 0) kernels.addScaled(parameters, gradients, -learningRate);
    else kernels.outerNesterov(parameters, velocity.use(), gradients, { learningRate, momentum });
  }

  return {
    addTokens(tokens) {
      pendingTokens += tokens;
    },

    clearGradients,

    load({ weights, optimizer: packed }) {
      steps = unpackOptimizerState(device, optimizer, packed);
      device.upload(parameters, weights);
      clearGradients();
      startEpoch();
    },

    async state() {
      return {
        weights: await device.download(parameters),
        optimizer: await packOptimizerState(device, optimizer, steps),
      };
    },

    async step() {
      if (!isLocal) throw new Error("a replica in sync mode steps when it merges");
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
      if (!isLocal) {
        await gradientSumNorm();
        return { values: await device.download(gradients), tokens: pendingTokens };
      }
      const values = new Float32Array(layout.length);
      if (hasMoved) {
        for (const { from, length, part } of exchanged()) {
          kernels.copy(part, range(epochStart.use(), from, length));
          kernels.addScaled(part, range(parameters, from, length), -1);
          await device.download(part, values.subarray(from, from + length));
        }
      }
      checkFinite(values, "pseudo-gradient");
      return { values, tokens: steppedTokens };
    },

    async merge(contributions) {
      const tokens = contributions.reduce((sum, contribution) => sum + contribution.tokens, 0);
      clearGradients();
      try {
        // Their memory takes the sum: this replica's own gradients are in the list, if they count.
        for (const [index, { values, tokens: weight }] of contributions.entries()) {
          checkFinite(values, `contributions[${index}]`);
          for (const { from, length, part } of exchanged()) {
            device.upload(part, values.subarray(from, from + length));
            kernels.addScaled(range(gradients, from, length), part, isLocal ? weight / tokens : 1);
          }
        }
        if (optimizer.outerMomentum) {
          if (hasMoved) kernels.copy(parameters, epochStart.use());
          if (tokens > 0) takeOuterStep(optimizer.outerMomentum);
        } else if (tokens > 0) await takeStep(tokens);
        startEpoch();
      } finally {
        clearGradients();
      }
    },
  };
}

/** `length` elements of a vector, from element `from` on. */
function range(vector: Slice, from: number, length: number): Slice {
  return rowsOf(vector, 1, from, length);
}
