/**
 * The training engine: one device, one stage, its replica's state and the microbatches in flight, behind the calls of
 * `worker-protocol.ts`. `compute` imports neither Electron nor the file system, sockets or the clock; only `worker.ts` and
 * `host.ts`, the two ends of the process around the engine, and the native back end touch the outside.
 */

import { BoundaryCodec } from "./boundary-codec.ts";
import type { DeviceOptions } from "./device.ts";
import { generateTokens } from "./generate.ts";
import { ActivationPool } from "./in-flight.ts";
import type { Device, Slice } from "./kernels.ts";
import { CompressedMerge } from "./merge/compressed-merge.ts";
import { createMemory } from "./model/memory.ts";
import { planStageMemory } from "./model/memory-plan.ts";
import { checkOperands } from "./model/operands.ts";
import {
  createStage,
  embeddingOf,
  headOf,
  lossForward,
  lossForwardBackward,
  passOf,
  type Stage,
  type StagePass,
  stageBackward,
  stageForward,
} from "./model/stage.ts";
import { allocateAllActivations, type StageActivations } from "./model/stage-memory.ts";
import { stageWorkspaceBytes } from "./model/workspace.ts";
import { finiteNorm, type NamedTensor, NonFiniteError } from "./non-finite.ts";
import { multiply } from "./probe/multiply.ts";
import { createReplica, type Replica } from "./replica.ts";
import type {
  ComputeArguments,
  ComputeMethod,
  ComputeResult,
  GradientFormat,
  OpenOptions,
  StageInput,
} from "./worker-protocol.ts";

/** The calls of `ComputeCalls` that concern a stage, each as a promise. They must be made one after the other. */
export type ComputeEngine = {
  readonly [M in Exclude<ComputeMethod, "devices">]: (...args: ComputeArguments<M>) => Promise<ComputeResult<M>>;
} & {
  /** Gives the device back. */
  readonly close: () => void;
};

interface OpenStage {
  readonly options: OpenOptions;
  readonly device: Device;
  readonly stage: Stage;
  readonly replica: Replica;
  readonly merge: CompressedMerge;
  readonly pool: ActivationPool;
  readonly codec: BoundaryCodec;
}

/** `openDevice` chooses the back end; its failures are the caller's. */
export function createEngine(openDevice: (options: DeviceOptions) => Promise<Device>): ComputeEngine {
  let current: OpenStage | null = null;
  /** Of the stage that was opened last. */
  let lastMerge: { readonly options: OpenOptions; readonly merge: CompressedMerge } | null = null;

  function opened(): OpenStage {
    if (!current) throw new Error("no stage is open");
    return current;
  }

  /** The one of before, with what its contributions are owed, if this is the same stage of the same run. */
  function mergeOf(options: OpenOptions, parameters: number): CompressedMerge {
    const merge =
      lastMerge !== null && isSameWork(lastMerge.options, options)
        ? lastMerge.merge
        : new CompressedMerge(options.training, parameters);
    merge.end(false);
    lastMerge = { options, merge };
    return merge;
  }

  function close(): void {
    current?.device.close();
    current = null;
  }

  return {
    async open(options) {
      close();
      const { model, training, stage: spec } = options;
      const { memoryLimitBytes = Number.POSITIVE_INFINITY, microbatchesInFlight = 1 } = options;
      const device = await openDevice(options);
      try {
        const needs = { microbatchesInFlight, workspaceBytes: stageWorkspaceBytes(options, device.workspace) };
        const plan = planStageMemory(options, needs, memoryLimitBytes);
        const maximumTokens = training.sequencesPerMicrobatch * training.sequenceLength;
        const size = { maximumTokens, recompute: plan.recompute };
        checkOperands(device, model, spec, size);
        const stage = createStage(device.kernels, createMemory(device), model, spec, size);
        const merge = mergeOf(options, stage.layout.length);
        const replica = createReplica(device, stage, training, merge);
        const pool = new ActivationPool(stage, plan, memoryLimitBytes);
        const codec = new BoundaryCodec(device, stage);
        current = { options, device, stage, replica, merge, pool, codec };
        return { device: device.description, parameters: stage.layout.length, memory: plan };
      } catch (error) {
        device.close();
        throw error;
      }
    },

    async load(state) {
      const { pool, replica } = opened();
      pool.discardAll();
      replica.load(state);
    },

    state: async () => opened().replica.state(),
    moments: async () => opened().replica.moments(),
    epochStart: async () => opened().replica.epochStart(),
    weightsHash: async () => opened().replica.weightsHash(),

    async forward(input) {
      const open = opened();
      const { stage, pool, codec } = open;
      return pool.launch(input.microbatch, async (kept) => {
        const pass = upload(open, kept, input);
        stageForward(stage, pass);
        const rms = (await checkOutput(open, pass)) / Math.sqrt(pass.stream.length);
        return { pass, result: await codec.encodeActivations(pass, input.send.format, rms) };
      });
    },

    forwardBackward({ targets, send, ...input }) {
      const open = opened();
      const { device, stage, replica, pool } = open;
      return pool.borrow(async (kept) => {
        const pass = upload(open, kept, input);
        device.uploadIndices(headOf(pass).targets, targets);
        stageForward(stage, pass);
        await checkOutput(open, pass);
        const losses = lossForwardBackward(stage, pass);
        replica.addTokens(targets.length);
        return orClearGradients(open, async () => ({
          lossSumNats: await lossSum(device, losses),
          inputGradient: await inputGradient(open, pass, send),
        }));
      });
    },

    async backward({ microbatch, gradient, send }) {
      const open = opened();
      const { stage, replica, pool, codec } = open;
      return pool.land(microbatch, async (pass) => {
        codec.uploadGradient(pass, gradient);
        stageBackward(stage, pass);
        replica.addTokens(pass.shape.sequences * pass.shape.queries);
        return orClearGradients(open, async () => ({ inputGradient: await inputGradient(open, pass, send) }));
      });
    },

    async discard({ microbatches }) {
      opened().pool.discard(microbatches);
    },

    step: async () => opened().replica.step(),
    stepDelta: async ({ seed }) => opened().replica.stepDelta(seed),
    applyExchange: async ({ contributions }) => opened().replica.applyExchange(contributions),
    contribution: async ({ partitions }) => opened().replica.contribution(partitions),
    average: async (request) => opened().merge.average(request),

    async beginMerge() {
      const { pool, replica } = opened();
      pool.discardAll();
      replica.beginMerge();
    },

    mergeSlice: async ({ payload, ...slice }) => opened().replica.mergeSlice(slice, payload),
    applyMerged: async ({ tokens, counted }) => opened().replica.applyMerged(tokens, counted),
    residual: async () => opened().merge.residual(),
    loadResidual: async ({ payload }) => opened().merge.loadResidual(payload),

    evaluate({ tokens, targets, sequences }) {
      const open = opened();
      const { device, stage, pool } = open;
      return pool.borrow(async (kept) => {
        const sequenceLength = tokens.length / sequences;
        const atOnce = Math.max(1, Math.floor(stage.size.maximumTokens / sequenceLength));
        let lossSumNats = 0;
        for (let sequence = 0; sequence < sequences; sequence += atOnce) {
          const count = Math.min(atOnce, sequences - sequence);
          const part = (all: Int32Array) =>
            all.subarray(sequence * sequenceLength, (sequence + count) * sequenceLength);
          const pass = upload(open, kept, { sequences: count, tokens: part(tokens) });
          device.uploadIndices(headOf(pass).targets, part(targets));
          stageForward(stage, pass);
          lossSumNats += await lossSum(device, lossForward(stage, pass));
        }
        return { lossSumNats };
      });
    },

    async generate(request) {
      const { device, stage, options, pool } = opened();
      const write = async (kept: StageActivations) => {
        const window = options.training.sequenceLength;
        return { tokens: await generateTokens(device, stage, kept, { ...request, window }) };
      };
      if (!stage.size.recompute) return pool.borrow(write);
      return stage.memory.lend(() => allocateAllActivations(stage), write);
    },

    multiply: async (request) => multiply(opened().device, request),

    close,
  };
}

/** A run's configuration does not change. */
function isSameWork(before: OpenOptions, now: OpenOptions): boolean {
  return before.run !== undefined && before.run === now.run && before.stage.index === now.stage.index;
}

/** Cuts the activations to the size of the input, and puts it there: tokens, or what a payload holds. */
function upload(
  { device, stage, codec }: OpenStage,
  kept: StageActivations,
  input: DistributiveOmit<StageInput, "microbatch">,
): StagePass {
  const { sequences } = input;
  const sequenceLength = ("tokens" in input ? input.tokens.length : input.rows) / sequences;
  const pass = passOf(stage, kept, { sequences, queries: sequenceLength, keys: sequenceLength });
  if ("tokens" in input) device.uploadIndices(embeddingOf(pass).tokens, input.tokens);
  else codec.uploadActivations(pass, input.activations);
  return pass;
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/**
 * The norm of what leaves the last block. Throws `NonFiniteError` with the name of the first layer whose output is broken. Nothing has
 * been added to gradients yet.
 */
async function checkOutput({ device, stage }: OpenStage, pass: StagePass): Promise<number> {
  const layers = pass.parts.map(({ name, output }): NamedTensor => [name, output]);
  const input: NamedTensor = [pass.embedding ? "embedding" : "activations", pass.input];
  return finiteNorm(device, stage.scratch.sum, ["output", pass.stream], [input, ...layers]);
}

/** Σ over tokens, in nats. */
async function lossSum(device: Device, losses: Slice): Promise<number> {
  const sum = (await device.downloadDouble(losses)).reduce((total, one) => total + one, 0);
  if (!Number.isFinite(sum)) throw new NonFiniteError("loss");
  return sum;
}

/** What the stage before needs; the first stage has none. */
async function inputGradient({ codec }: OpenStage, pass: StagePass, send: GradientFormat | null) {
  return pass.embedding || send === null ? null : codec.encodeGradient(pass, send);
}

/** Of a backward pass that went wrong, something broken has been added to the gradients: all of them are given up. */
async function orClearGradients<T>({ replica }: OpenStage, result: () => Promise<T>): Promise<T> {
  try {
    return await result();
  } catch (error) {
    replica.clearGradients();
    throw error;
  }
}
