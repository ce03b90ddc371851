/**
 * The training engine: one device, one stage, its replica's state and the microbatches in flight, behind the calls of
 * `worker-protocol.ts`. `compute` imports neither Electron nor the file system, sockets or the clock; only `worker.ts` and
 * `host.ts`, the two ends of the process around the engine, and the native back end touch the outside.
 */

import type { DeviceOptions } from "./device.ts";
import { generateTokens } from "./generate.ts";
import type { Device } from "./kernels.ts";
import {
  allocateActivations,
  createStage,
  embeddingOf,
  headOf,
  lossBackward,
  lossForward,
  passOf,
  type Stage,
  type StageActivations,
  type StagePass,
  stageBackward,
  stageForward,
} from "./model/stage.ts";
import { NonFiniteError } from "./non-finite.ts";
import { createReplica, type Replica } from "./replica.ts";
import type {
  ComputeArguments,
  ComputeMethod,
  ComputeResult,
  MicrobatchKey,
  OpenOptions,
  StageInput,
} from "./worker-protocol.ts";

/** The calls of `ComputeCalls`, each as a promise. They must be made one after the other. */
export type ComputeEngine = {
  readonly [M in ComputeMethod]: (...args: ComputeArguments<M>) => Promise<ComputeResult<M>>;
} & {
  /** Gives the device back. */
  readonly close: () => void;
};

interface OpenStage {
  readonly options: OpenOptions;
  readonly device: Device;
  readonly stage: Stage;
  readonly replica: Replica;
  readonly inFlight: Map<MicrobatchKey, { readonly kept: StageActivations; readonly pass: StagePass }>;
  /** Activations that no microbatch uses. */
  readonly idle: StageActivations[];
}

/** `openDevice` chooses the back end; its failures are the caller's. */
export function createEngine(openDevice: (options: DeviceOptions) => Promise<Device>): ComputeEngine {
  let current: OpenStage | null = null;

  function opened(): OpenStage {
    if (!current) throw new Error("no stage is open");
    return current;
  }

  function close(): void {
    current?.device.close();
    current = null;
  }

  return {
    async open(options) {
      close();
      const device = await openDevice(options);
      try {
        const { sequencesPerMicrobatch, sequenceLength } = options.training;
        const stage = createStage(device, options.model, options.stage, sequencesPerMicrobatch * sequenceLength);
        const replica = createReplica(device, stage, options.training);
        const idle = [allocateActivations(stage)];
        current = { options, device, stage, replica, inFlight: new Map(), idle };
        const elementBytes = device.description.kind === "reference" ? 8 : 4;
        return {
          device: device.description,
          parameters: stage.layout.length,
          memoryBytes: stage.memory.elements * elementBytes,
        };
      } catch (error) {
        device.close();
        throw error;
      }
    },

    async load(state) {
      const open = opened();
      discard(open, [...open.inFlight.keys()]);
      open.replica.load(state);
    },

    state: async () => opened().replica.state(),

    async forward(input) {
      const open = opened();
      const { device, stage, inFlight, idle } = open;
      if (inFlight.has(input.microbatch)) throw new Error(`microbatch ${input.microbatch} is already in flight`);
      const kept = takeActivations(open);
      try {
        const pass = upload(open, kept, input.sequences, inputOf(input));
        stageForward(stage, pass);
        const activations = finite(await device.download(pass.output), "activations");
        inFlight.set(input.microbatch, { kept, pass });
        return { activations };
      } catch (error) {
        idle.push(kept);
        throw error;
      }
    },

    async forwardBackward(input) {
      const open = opened();
      const { stage, replica, idle } = open;
      const kept = takeActivations(open);
      try {
        const pass = upload(open, kept, input.sequences, inputOf(input));
        const lossSumNats = await loss(open, pass, input.targets);
        lossBackward(stage, pass);
        replica.addTokens(input.targets.length);
        return { lossSumNats, inputGradient: await inputGradient(open, pass) };
      } finally {
        idle.push(kept);
      }
    },

    async backward({ microbatch, gradient }) {
      const open = opened();
      const { device, stage, replica, inFlight } = open;
      const { pass } = inFlight.get(microbatch) ?? missing(microbatch);
      try {
        device.upload(pass.dx, finite(gradient, "gradient"));
        stageBackward(stage, pass);
        replica.addTokens(pass.shape.sequences * pass.shape.queries);
        return { inputGradient: await inputGradient(open, pass) };
      } finally {
        discard(open, [microbatch]);
      }
    },

    async discard({ microbatches }) {
      discard(opened(), microbatches);
    },

    step: async () => opened().replica.step(),
    contribution: async () => opened().replica.contribution(),

    async merge({ contributions }) {
      const open = opened();
      discard(open, [...open.inFlight.keys()]);
      await open.replica.merge(contributions);
    },

    async evaluate({ tokens, targets, sequences }) {
      const open = opened();
      const kept = takeActivations(open);
      try {
        const sequenceLength = tokens.length / sequences;
        const atOnce = Math.max(1, Math.floor(open.stage.maximumTokens / sequenceLength));
        let lossSumNats = 0;
        for (let sequence = 0; sequence < sequences; sequence += atOnce) {
          const count = Math.min(atOnce, sequences - sequence);
          const part = (all: Int32Array) =>
            all.subarray(sequence * sequenceLength, (sequence + count) * sequenceLength);
          const pass = upload(open, kept, count, part(tokens));
          lossSumNats += await loss(open, pass, part(targets));
        }
        return { lossSumNats };
      } finally {
        open.idle.push(kept);
      }
    },

    async generate(request) {
      const open = opened();
      const { device, stage, options, idle } = open;
      const kept = takeActivations(open);
      try {
        const window = options.training.sequenceLength;
        return { tokens: await generateTokens(device, stage, kept, { ...request, window }) };
      } finally {
        idle.push(kept);
      }
    },

    close,
  };
}

function takeActivations({ stage, idle }: OpenStage): StageActivations {
  return idle.pop() ?? allocateActivations(stage);
}

function discard({ inFlight, idle }: OpenStage, microbatches: readonly MicrobatchKey[]): void {
  for (const microbatch of microbatches) {
    const dropped = inFlight.get(microbatch);
    if (!dropped) continue;
    inFlight.delete(microbatch);
    idle.push(dropped.kept);
  }
}

function inputOf(input: StageInput): Int32Array | Float32Array {
  return "tokens" in input ? input.tokens : input.activations;
}

/** Cuts the activations to the size of the input, and puts it there: tokens, or [tokens, width] activations. */
function upload(
  { device, stage }: OpenStage,
  kept: StageActivations,
  sequences: number,
  input: Int32Array | Float32Array,
): StagePass {
  const areTokens = input instanceof Int32Array;
  const sequenceLength = input.length / (areTokens ? 1 : stage.model.width) / sequences;
  const pass = passOf(stage, kept, { sequences, queries: sequenceLength, keys: sequenceLength });
  if (areTokens) device.uploadIndices(embeddingOf(pass).tokens, input);
  else device.upload(pass.input, finite(input, "activations"));
  return pass;
}

/** Σ over tokens of the last stage's loss, in nats. */
async function loss({ device, stage }: OpenStage, pass: StagePass, targets: Int32Array): Promise<number> {
  device.uploadIndices(headOf(pass).targets, targets);
  const losses = await device.downloadDouble(lossForward(stage, pass));
  const sum = losses.reduce((total, one) => total + one, 0);
  // Checked before the backward pass: nothing has been added to the gradients yet.
  if (!Number.isFinite(sum)) throw new NonFiniteError("loss");
  return sum;
}

/** What the stage before needs; the first stage has none. A broken one has broken the parameter gradients with it. */
async function inputGradient({ device, replica }: OpenStage, pass: StagePass): Promise<Float32Array | null> {
  if (pass.embedding) return null;
  try {
    return finite(await device.download(pass.dx), "gradient");
  } catch (error) {
    replica.clearGradients();
    throw error;
  }
}

/**
 * Passes finite values through. One sum finds any NaN, and any infinity: neither ever goes away again. By index, because an
 * iterator takes ten times as long.
 */
function finite(values: Float32Array, tensor: string): Float32Array {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += Math.abs(values[index] ?? 0);
  if (!Number.isFinite(sum)) throw new NonFiniteError(tensor);
  return values;
}

function missing(microbatch: MicrobatchKey): never {
  throw new Error(`microbatch ${microbatch} is not in flight`);
}
