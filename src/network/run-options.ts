/** From what a person asked for to a run's definition. */
import { basename, resolve } from "node:path";
import type { TokenizerId } from "../compute/data/tokenizer.ts";
import type { ModelConfig } from "../compute/model/config.ts";
import { type PresetName, presets } from "../compute/model/presets.ts";
import { cutIntoStages, isFirstStage } from "../compute/model/stages.ts";
import { FailureError } from "../protocol/failure.ts";
import { isCheckpointName, type RunId, runIdSchema } from "../protocol/ids.ts";
import type { Plan } from "../protocol/plan-view.ts";
import {
  type CompressionChoice,
  type MergeCodecName,
  mergeCodecs,
  type RowFormat,
  type TrainingConfig,
  type VectorCodec,
} from "../protocol/run-config.ts";
import { adaptsOf, type PlannedRun, planOf, withPlan, withStoredPlan } from "./auto-compression.ts";
import { type ExchangeOptions, exchangeOf, exchangingOptimizer } from "./exchange-options.ts";
import { defaultTimeouts, planStages, type RunDefinition, type Timeouts } from "./orchestrator/core/definition.ts";

export interface RunOptions extends ExchangeOptions {
  /** Undefined: the preset's name. */
  readonly runId?: RunId;
  readonly preset: PresetName;
  /** Undefined: as many as the preset is made for. */
  readonly stages?: number;
  /** Replicas per stage that the start waits for. */
  readonly replicas: number;
  /** A .txt or .jsonl file or a folder of them; undefined: the public-domain text that comes along. */
  readonly data?: string;
  /** A folder with a model to go on with, or the name of one of the network's checkpoints; undefined: weights drawn from the seed. */
  readonly from?: string;
  /** Of that model, where its folder does not say. */
  readonly tokenizer?: TokenizerId;
  /** Finish after so many trained tokens; undefined: never. */
  readonly tokens?: number;
  readonly seed?: number;
  readonly mode?: TrainingConfig["mode"];
  readonly optimizer?: TrainingConfig["optimizer"];
  readonly stepsPerEpoch?: number;
  /** Of each source, in every optimizer step. */
  readonly microbatchesPerStep?: number;
  readonly sequencesPerMicrobatch?: number;
  /** `maximumStaleness` of the training. */
  readonly maxStaleness?: number;
  /** Channels that cross each stage boundary, through a bottleneck there; 0 or undefined: the model has none, and all of them cross. */
  readonly bottleneck?: number;
  /** Channels inside the bottlenecks; undefined: as `defaultHidden` has it. */
  readonly bottleneckHidden?: number;
  /** What slices of merges cross in. */
  readonly mergeCodec?: MergeCodecName;
  /** What activations and their gradients cross in. */
  readonly boundaryForward?: RowFormat;
  readonly boundaryBackward?: RowFormat;
  /** `auto`: what is not asked for is chosen for home links (`plan/plan.ts`), and adapts to those that there are. */
  readonly compression?: CompressionChoice;
  /** Of the slices of a merge; undefined: as the preset has it. */
  readonly merge?: VectorCodec;
  /** Replace what the preset says. */
  readonly training?: Partial<TrainingConfig>;
  readonly timeouts?: Partial<Timeouts>;
}

/**
 * An imported model may have a shorter context than the preset's sequences. Throws `FailureError` (invalid-option) for what `sync`
 * mode cannot do.
 */
export function trainingOf(options: RunOptions, model: ModelConfig = presets[options.preset].model): TrainingConfig {
  const preset = presets[options.preset].training;
  const { mode = preset.mode, stepsPerEpoch, maxStaleness, optimizer, seed } = options;
  // In sync mode replicas merge at every step.
  if (mode === "sync" && ((stepsPerEpoch ?? 1) > 1 || (maxStaleness ?? 0) > 0))
    throw new FailureError(
      "invalid-option",
      "In sync mode an epoch is one step, and nothing is computed ahead of it.",
      {
        action: "Leave --steps-per-epoch and --max-staleness out, or choose --mode local-steps.",
      },
    );
  const { compression } = preset;
  const exchange = exchangeOf(options, mode, compression.exchange);
  const { boundaryForward = compression.boundary.forward, boundaryBackward = compression.boundary.backward } = options;
  return {
    ...preset,
    compression: {
      ...compression,
      boundary: { forward: boundaryForward, backward: boundaryBackward },
      exchange,
      merge: options.mergeCodec === undefined ? (options.merge ?? compression.merge) : mergeCodecs[options.mergeCodec],
    },
    ...(exchange && exchangingOptimizer(preset.learningRate, options.replicas)),
    sequenceLength: Math.min(preset.sequenceLength, model.context),
    mode,
    microbatchesPerStep: options.microbatchesPerStep ?? preset.microbatchesPerStep,
    sequencesPerMicrobatch: options.sequencesPerMicrobatch ?? preset.sequencesPerMicrobatch,
    optimizer: optimizer ?? preset.optimizer,
    stepsPerEpoch: mode === "sync" ? 1 : (stepsPerEpoch ?? preset.stepsPerEpoch),
    maximumStaleness: mode === "sync" ? 0 : (maxStaleness ?? preset.maximumStaleness),
    seed: seed ?? preset.seed,
    ...options.training,
  };
}

export function runIdOf({ runId, preset }: Pick<RunOptions, "runId" | "preset">): RunId {
  return runId ?? runIdSchema.parse(preset);
}

/** `from` as it means the same everywhere on this computer. */
export function absoluteStart(from: string): string {
  return isCheckpointName(from) ? from : resolve(from);
}

/**
 * The model with a bottleneck wherever it is cut, if it shall have them. A model to go on with stays as it is: what it has learned
 * lies in all its channels. Throws `FailureError` (invalid-option) where bottlenecks make no sense.
 */
function withBottlenecks(options: RunOptions, model: ModelConfig, stages: number): ModelConfig {
  const { from, bottleneck: rank = 0, bottleneckHidden: hidden } = options;
  if (rank === 0 && hidden !== undefined)
    throw new FailureError("invalid-option", "Without bottlenecks there is nothing inside them.", {
      action: "Leave --bottleneck-hidden out, or add --bottleneck.",
    });
  if (from !== undefined && rank > 0)
    throw new FailureError("invalid-option", "A model that was trained already keeps the channels that it has.", {
      action: "Leave --bottleneck out: a checkpoint goes on with the bottlenecks that it has. Use --boundary-forward.",
    });
  if (from !== undefined) return model;
  const { bottleneck: _, ...plain } = model;
  if (rank === 0) return plain;
  if (stages === 1)
    throw new FailureError("invalid-option", "A model in one stage has no boundaries that a bottleneck could lie at.", {
      action: "Leave --bottleneck out, or choose more --stages.",
    });
  if (rank >= model.width)
    throw new FailureError("invalid-option", `A bottleneck of ${rank} channels is no narrower than the model.`, {
      action: `Choose a --bottleneck below its width of ${model.width} channels.`,
    });
  const beforeLayers = cutIntoStages(plain, stages).flatMap((stage) => (isFirstStage(stage) ? [] : [stage.fromLayer]));
  return { ...plain, bottleneck: { rank, hidden: hidden ?? defaultHidden(plain), beforeLayers } };
}

/** The SwiGLUs of bottlenecks are a quarter as wide as the model, unless something else is asked for: wider ones learnt no more (ADR 0009). */
function defaultHidden({ width }: ModelConfig): number {
  return Math.ceil(width / 4);
}

/**
 * What is trained, and how. `whole`: the model as it is given. Throws `FailureError` (invalid-option) when it cannot be cut into as many
 * stages, or cannot have the bottlenecks.
 */
export function settleRun(
  asked: RunOptions,
  whole: ModelConfig,
): PlannedRun & Pick<RunDefinition, "adapts"> & { readonly plan: Plan | null } {
  const { preset, from } = asked;
  const stages = asked.stages ?? Math.min(presets[preset].stages, whole.layers);
  if (stages > whole.layers)
    throw new FailureError("invalid-option", `${whole.layers} layers cannot be cut into ${stages} stages.`, {
      action: `Choose at most ${whole.layers} stages.`,
    });
  // A run that is looked at again has the bottlenecks that were chosen for it.
  const { bottleneck: _, ...plain } = whole;
  const unplanned = { model: from === undefined ? plain : whole, training: trainingOf(asked, whole), stages };
  const plan = planOf(asked, unplanned);
  const options = plan === null ? asked : withPlan(asked, plan);
  const model = withBottlenecks(options, whole, stages);
  return { model, training: trainingOf(options, model), stages, plan, adapts: adaptsOf(asked, unplanned) };
}

/** `parts`: what does not follow from the options alone. Throws `FailureError` (invalid-option) as `settleRun` does. */
export function defineRun(
  options: RunOptions,
  parts: Pick<RunDefinition, "model" | "tokenizer" | "dataset">,
): RunDefinition {
  const { preset, data, from } = options;
  const { tokenizer, dataset } = parts;
  const { model, training, stages, adapts } = settleRun(options, parts.model);
  const largestStage = Math.max(...planStages({ model, stages }).map(({ parameters }) => parameters));
  const start =
    from === undefined ? preset : isCheckpointName(from) ? `checkpoint ${from.slice(0, 8)}` : basename(resolve(from));
  return {
    runId: runIdOf(options),
    name: `${start} on ${data === undefined ? "public-domain English" : "own text"}`.slice(0, 64),
    preset,
    model,
    training,
    tokenizer,
    dataset,
    dataPath: data === undefined ? null : resolve(data),
    from: from === undefined ? null : absoluteStart(from),
    ...(adapts && { adapts }),
    stages,
    minimumReplicas: options.replicas,
    targetTokens: options.tokens ?? null,
    timeouts: { ...defaultTimeouts(largestStage), ...options.timeouts },
  };
}

/** Throws `FailureError` (invalid-option) when a run that is there already is not the one that was asked for. */
export function mustBeSameRun(stored: RunDefinition, options: RunOptions): void {
  const asked = defineRun(withStoredPlan(options, stored), stored);
  const aspects = {
    preset: ({ preset }: RunDefinition) => preset,
    stages: ({ stages }: RunDefinition) => stages,
    bottleneck: ({ model }: RunDefinition) => model.bottleneck ?? null,
    replicas: ({ minimumReplicas }: RunDefinition) => minimumReplicas,
    training: ({ training }: RunDefinition) => training,
    data: ({ dataPath }: RunDefinition) => (stored.dataPath === undefined ? null : dataPath),
    from: ({ from }: RunDefinition) => from ?? null,
  };
  const differing = Object.entries(aspects)
    .filter(([, aspect]) => JSON.stringify(aspect(stored)) !== JSON.stringify(aspect(asked)))
    .map(([name]) => name);
  if (differing.length === 0) return;
  throw new FailureError(
    "invalid-option",
    `The run ${stored.runId} of this network is another one: it differs in ${differing.join(", ")}.`,
    { action: "Give the new one another --id, use another --state folder, or the run's own options." },
  );
}
