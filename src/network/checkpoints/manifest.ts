/**
 * A checkpoint's manifest: all that is needed to read it without the run, its log or its network. It lies in the blob store
 * beside what it names, and its own hash names the checkpoint; `parent` makes the checkpoints of a run a chain of hashes.
 *
 * This folder keeps checkpoints, and reads them as models. It may import `compute`, `transport`, `protocol` and the core's types.
 */
import { z } from "zod";
import { tokenizerIdSchema } from "../../compute/data/tokenizer.ts";
import { blobHashSchema, blobRefSchema, runIdSchema } from "../../protocol/ids.ts";
import { modelConfigSchema, stageSpecSchema, trainingConfigSchema } from "../../protocol/run-config.ts";
import type { Checkpoint } from "../../protocol/run-view.ts";
import type { RunDefinition } from "../orchestrator/core/definition.ts";
import { planStages } from "../orchestrator/core/definition.ts";

const count = z.int().nonnegative();

export const checkpointManifestSchema = z.strictObject({
  format: z.literal("train-at-home-checkpoint-1"),
  runId: runIdSchema,
  runName: z.string(),
  model: modelConfigSchema,
  training: trainingConfigSchema,
  tokenizer: tokenizerIdSchema,
  /** The dataset's manifest. */
  dataset: blobRefSchema,
  /** The epoch that starts from this checkpoint. */
  epoch: count,
  /** Trained since the run began. */
  tokens: count,
  /** The manifest of the checkpoint that this one was trained from; null: the run's first. */
  parent: blobHashSchema.nullable(),
  /** First stage first. `weights` and `optimizer` are raw f32, laid out as `compute/model` says. */
  stages: z.array(z.strictObject({ spec: stageSpecSchema, weights: blobRefSchema, optimizer: blobRefSchema })).min(1),
});
export type CheckpointManifest = Readonly<z.infer<typeof checkpointManifestSchema>>;

export function manifestOf(
  definition: RunDefinition,
  checkpoint: Checkpoint,
  parent: CheckpointManifest["parent"],
): CheckpointManifest {
  const specs = planStages(definition).map(({ spec }) => spec);
  return checkpointManifestSchema.parse({
    format: "train-at-home-checkpoint-1",
    runId: definition.runId,
    runName: definition.name,
    model: definition.model,
    training: definition.training,
    tokenizer: definition.tokenizer,
    dataset: definition.dataset.manifest,
    epoch: checkpoint.epoch,
    tokens: checkpoint.tokens,
    parent,
    stages: checkpoint.stages.map((stage, index) => ({ spec: specs[index], ...stage })),
  });
}

/** One manifest has one text, and so one hash: JSON without spaces, keys in order (RFC 8785). */
export function manifestBytes(manifest: CheckpointManifest): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(manifest, (_key, value: unknown) => sorted(value)));
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
