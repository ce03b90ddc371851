/** From what a person asked for to a run's definition. */
import { resolve } from "node:path";
import { type PresetName, presets } from "../compute/model/presets.ts";
import { FailureError } from "../protocol/failure.ts";
import { type BlobRef, runIdSchema } from "../protocol/ids.ts";
import type { TrainingConfig } from "../protocol/run-config.ts";
import { defaultTimeouts, planStages, type RunDefinition, type Timeouts } from "./orchestrator/core/definition.ts";

export interface RunOptions {
  readonly preset: PresetName;
  /** Undefined: as many as the preset is made for. */
  readonly stages?: number;
  /** Replicas per stage that the start waits for. */
  readonly replicas: number;
  /** A .txt or .jsonl file or a folder of them; undefined: the public-domain text that comes along. */
  readonly data?: string;
  /** Finish after so many trained tokens; undefined: never. */
  readonly tokens?: number;
  readonly seed?: number;
  readonly mode?: TrainingConfig["mode"];
  /** Replace what the preset says. */
  readonly training?: Partial<TrainingConfig>;
  readonly timeouts?: Partial<Timeouts>;
}

export function trainingOf(options: RunOptions): TrainingConfig {
  const preset = presets[options.preset].training;
  const mode = options.mode ?? preset.mode;
  return {
    ...preset,
    mode,
    // In sync mode replicas merge at every step.
    ...(mode === "sync" ? { stepsPerEpoch: 1 } : {}),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...options.training,
  };
}

/** Throws `FailureError` (invalid-option) when the model cannot be cut into as many stages. */
export function defineRun(options: RunOptions, manifest: BlobRef): RunDefinition {
  const { model, tokenizer, stages: presetStages } = presets[options.preset];
  const stages = options.stages ?? presetStages;
  if (stages > model.layers)
    throw new FailureError("invalid-option", `${model.layers} layers cannot be cut into ${stages} stages.`, {
      action: `Choose at most ${model.layers} stages.`,
    });
  const largestStage = Math.max(...planStages({ model, stages }).map(({ parameters }) => parameters));
  return {
    runId: runIdSchema.parse(options.preset),
    name: `${options.preset} on ${options.data === undefined ? "public-domain English" : "own text"}`.slice(0, 64),
    preset: options.preset,
    model,
    training: trainingOf(options),
    tokenizer,
    dataset: { manifest },
    dataPath: options.data === undefined ? null : resolve(options.data),
    stages,
    minimumReplicas: options.replicas,
    targetTokens: options.tokens ?? null,
    timeouts: { ...defaultTimeouts(largestStage), ...options.timeouts },
  };
}

/** Throws `FailureError` (invalid-option) when a state folder's run is not the one that was asked for. */
export function mustBeSameRun(stored: RunDefinition, options: RunOptions): void {
  const asked = defineRun(options, stored.dataset.manifest);
  const aspects = {
    preset: ({ preset }: RunDefinition) => preset,
    stages: ({ stages }: RunDefinition) => stages,
    replicas: ({ minimumReplicas }: RunDefinition) => minimumReplicas,
    training: ({ training }: RunDefinition) => training,
    data: ({ dataPath }: RunDefinition) => (stored.dataPath === undefined ? null : dataPath),
  };
  const differing = Object.entries(aspects)
    .filter(([, aspect]) => JSON.stringify(aspect(stored)) !== JSON.stringify(aspect(asked)))
    .map(([name]) => name);
  if (differing.length === 0) return;
  throw new FailureError(
    "invalid-option",
    `This state folder holds another run: it differs in ${differing.join(", ")}.`,
    {
      action: "Use another --state folder, or the run's own options.",
    },
  );
}
