/** Engines of the small model on the reference device, and what they train on. */

import { expect } from "vitest";
import { createReferenceDevice } from "../../src/compute/backends/reference/device.ts";
import { type ComputeEngine, createEngine } from "../../src/compute/engine.ts";
import type { StageSpec, TrainingConfig } from "../../src/compute/model/config.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { type BoundaryFormats, noCompression } from "../../src/protocol/run-config.ts";
import { randomTokens, smallModel } from "./small-model.ts";

export const model = smallModel;
export const sequenceLength = 8;
export const training: TrainingConfig = {
  ...presets.tiny.training,
  mode: "local-steps",
  sequenceLength,
  sequencesPerMicrobatch: 2,
  weightDecay: 0.1,
  outerLearningRate: 0.7,
  outerMomentum: 0.6,
};
export const whole = wholeModel(model);

export async function openEngine(
  stage: StageSpec = whole,
  settings: Partial<TrainingConfig> = {},
  of = model,
): Promise<ComputeEngine> {
  const engine = createEngine(async () => createReferenceDevice());
  await engine.open({ backend: "reference", threads: 1, model: of, stage, training: { ...training, ...settings } });
  return engine;
}

export function sample(name: string, sequences = 2) {
  return {
    sequences,
    tokens: randomTokens(model, sequences * sequenceLength, `${name} tokens`),
    targets: randomTokens(model, sequences * sequenceLength, `${name} targets`),
  };
}

export async function train(engine: ComputeEngine, ...names: string[]): Promise<number> {
  let loss = 0;
  for (const name of names)
    loss += (await engine.forwardBackward({ microbatch: name, ...sample(name), send: null })).lossSumNats;
  return loss;
}

/** One microbatch through a chain of engines; returns its loss. */
export async function pipe(
  stages: readonly ComputeEngine[],
  name: string,
  formats: BoundaryFormats = noCompression.boundary,
): Promise<number> {
  const { sequences, tokens, targets } = sample(name);
  const common = { microbatch: name, sequences, rows: tokens.length };
  const send = { format: formats.backward, noise: 7 };
  let input: { tokens: Int32Array } | { activations: Uint8Array } = { tokens };
  for (const stage of stages.slice(0, -1)) {
    const { activations } = await stage.forward({ ...common, ...input, send: { format: formats.forward } });
    input = { activations };
  }
  const last = stages.at(-1) as ComputeEngine;
  const { lossSumNats, inputGradient } = await last.forwardBackward({ ...common, targets, ...input, send });
  let gradient = inputGradient;
  for (const stage of stages.slice(0, -1).toReversed()) {
    if (!gradient) throw new Error("a later stage returns a gradient");
    gradient = (await stage.backward({ microbatch: name, gradient, send })).inputGradient;
  }
  expect(gradient).toBeNull();
  return lossSumNats;
}
