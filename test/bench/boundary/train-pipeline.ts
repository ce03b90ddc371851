/**
 * A pipeline of the product's engines in this process, one per stage: microbatches cross as payloads, and all stages step when all of
 * a step's microbatches are back. Bits do not depend on where the engines run, so that this is what machines would learn.
 */
import { readSample, trainingCrops } from "../../../src/compute/data/samples.ts";
import { openDevice } from "../../../src/compute/device.ts";
import { type ComputeEngine, createEngine } from "../../../src/compute/engine.ts";
import type { ModelConfig, StageSpec, TrainingConfig } from "../../../src/compute/model/config.ts";
import { streamKey, threefry } from "../../../src/compute/random.ts";
import { joinStages } from "../../../src/network/validator/join-stages.ts";
import type { BoundaryHealth } from "../../../src/protocol/client-messages.ts";
import { bytesOf } from "../../../src/protocol/identity.ts";
import type { Dataset } from "../shared/bundled-dataset.ts";
import { type BenchDevice, heldOutLossNats } from "../shared/held-out-loss.ts";

export interface PipelineRun {
  readonly model: ModelConfig;
  readonly training: TrainingConfig;
  readonly stages: readonly StageSpec[];
  readonly dataset: Dataset;
  readonly steps: number;
  readonly device: BenchDevice;
  /** Stages before the last one stay as they were drawn: what training them is worth. */
  readonly trainsLastStageOnly: boolean;
  /** At once on the gradients of the step's microbatches, unless it is told here. */
  readonly stepping?: Stepping;
  readonly onStep: (step: number, lossNats: number) => void;
}

export interface PipelineResult {
  /** Per token. */
  readonly validationLossNats: number;
  /** Of each step, per token, before it was taken. */
  readonly lossesNats: readonly number[];
  /** Of each boundary, over the last step. */
  readonly boundaries: readonly BoundaryHealth[];
  /** That the last microbatch crossed in, at each boundary. */
  readonly payloads: readonly { readonly forward: Uint8Array; readonly backward: Uint8Array | null }[];
  readonly seconds: number;
}

/** How all stages step when a step's microbatches are back. */
export interface Stepping {
  take(engines: readonly ComputeEngine[]): Promise<void>;
  /** After the last step. */
  finish(engines: readonly ComputeEngine[]): Promise<void>;
}

const atOnce: Stepping = {
  async take(engines) {
    for (const engine of engines) await engine.step();
  },
  async finish() {},
};

export async function trainPipeline(run: PipelineRun): Promise<PipelineResult> {
  const { model, training, stages, device, dataset, stepping = atOnce } = run;
  const engines: ComputeEngine[] = [];
  for (const stage of stages) {
    const engine = createEngine(openDevice);
    await engine.open({ ...device, model, training, stage, microbatchesInFlight: 1 });
    engines.push(engine);
  }
  const startMs = performance.now();
  const lossesNats: number[] = [];
  let crossed: readonly Crossing[] = [];
  for (let step = 0; step < run.steps; step++) {
    let lossSumNats = 0;
    for (let index = 0; index < training.microbatchesPerStep; index++) {
      const { manifest, shardOf } = dataset;
      const crops = trainingCrops(manifest, training, { epoch: step, index });
      const sample = readSample(crops, training.sequenceLength, shardOf);
      const passed = await passMicrobatch(engines, run, { step, index }, sample);
      lossSumNats += passed.lossSumNats;
      crossed = passed.crossings;
    }
    await stepping.take(run.trainsLastStageOnly ? engines.slice(-1) : engines);
    const lossNats = lossSumNats / tokensPerStep(training);
    lossesNats.push(lossNats);
    run.onStep(step, lossNats);
  }
  await stepping.finish(engines);
  const seconds = (performance.now() - startMs) / 1000;
  const vectors: Uint8Array[] = [];
  for (const engine of engines) vectors.push(bytesOf((await engine.state()).weights));
  for (const engine of engines) engine.close();
  const validationLossNats = await heldOutLossNats(run, joinStages(model, stages, vectors));
  return {
    validationLossNats,
    lossesNats,
    boundaries: crossed.map(({ health }) => health),
    payloads: crossed,
    seconds,
  };
}

function tokensPerStep({ sequenceLength, sequencesPerMicrobatch, microbatchesPerStep }: TrainingConfig): number {
  return sequenceLength * sequencesPerMicrobatch * microbatchesPerStep;
}

interface Crossing {
  readonly forward: Uint8Array;
  readonly backward: Uint8Array | null;
  readonly health: BoundaryHealth;
}

async function passMicrobatch(
  engines: readonly ComputeEngine[],
  { training, trainsLastStageOnly }: PipelineRun,
  { step, index }: { readonly step: number; readonly index: number },
  { sequences, tokens, targets }: ReturnType<typeof readSample>,
): Promise<{ readonly lossSumNats: number; readonly crossings: readonly Crossing[] }> {
  const { forward: format, backward } = training.compression.boundary;
  const common = { microbatch: `${step}/${index}`, sequences, rows: tokens.length };
  const send = (stage: number) =>
    stage === 0 || trainsLastStageOnly ? null : { format: backward, noise: noiseOf(training.seed, step, index, stage) };
  const [last, ...before] = engines.toReversed();
  if (last === undefined) throw new Error("a pipeline has a stage");
  const earlier = before.toReversed();
  const sent: { forward: Uint8Array; health: BoundaryHealth }[] = [];
  let input: { tokens: Int32Array } | { activations: Uint8Array } = { tokens };
  for (const engine of earlier) {
    const { activations, boundary } = await engine.forward({ ...common, ...input, send: { format } });
    sent.push({ forward: activations, health: boundary });
    input = { activations };
  }
  const result = await last.forwardBackward({ ...common, ...input, targets, send: send(earlier.length) });
  const returned: (Uint8Array | null)[] = [];
  let gradient = result.inputGradient;
  for (const [stage, engine] of [...earlier.entries()].toReversed()) {
    returned[stage] = gradient;
    if (gradient === null) await engine.discard({ microbatches: [common.microbatch] });
    else ({ inputGradient: gradient } = await engine.backward({ ...common, gradient, send: send(stage) }));
  }
  const crossings = sent.map(({ forward, health }, stage) => ({ forward, health, backward: returned[stage] ?? null }));
  return { lossSumNats: result.lossSumNats, crossings };
}

/** As a miner's daemon draws it: another one for every tensor. */
function noiseOf(seed: number, step: number, index: number, stage: number): number {
  const words = { first: 0, second: 0 };
  threefry(words, streamKey(seed, `gradient noise of stage ${stage}`), step, index);
  return words.first >>> 0;
}
