/** `tah run checkpoints|export|sample`: what the networks of this computer have archived, read from their state folders. */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { type TokenizerId, tokenizerIdSchema } from "../../compute/data/tokenizer.ts";
import { type ArchivedCheckpoint, findCheckpoint } from "../../network/checkpoints/archive.ts";
import { checkpointNameSchema, type RunId, runIdSchema, shortId } from "../../protocol/ids.ts";
import { countText, lossText } from "../formats.ts";
import { cancelledWhenStopped } from "../lifetime.ts";
import { findArchive } from "../network-folders.ts";
import {
  type CommonOptions,
  countValue,
  seedValue,
  temperatureValue,
  valueParser,
  withCommonOptions,
} from "../option-types.ts";
import type { Output } from "../output.ts";
import type { CheckpointList, CheckpointView, ExportedModel, WrittenText } from "../output-schemas.ts";

const runIdValue = valueParser(runIdSchema);
const checkpointValue = valueParser(checkpointNameSchema);

interface CheckpointOptions extends CommonOptions {
  readonly checkpoint?: string;
}

interface ExportOptions extends CheckpointOptions {
  readonly out: string;
  readonly format: "hf" | "safetensors";
  readonly dtype: "f32" | "bf16";
}

interface SampleOptions extends CheckpointOptions {
  readonly prompt: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly seed: number;
  readonly threads: number;
  readonly from?: string;
  readonly tokenizer?: TokenizerId;
}

export function addCheckpointCommands(run: Command, output: Output): void {
  addListCommand(run, output);
  addExportCommand(run, output);
  addSampleCommand(run, output);
}

function addListCommand(run: Command, output: Output): void {
  withCommonOptions(run.command("checkpoints").argument("[run]", "its id; by default all runs", runIdValue))
    .description("The checkpoints that a network of this computer keeps.")
    .action(async (runId: RunId | undefined, { state }: CommonOptions) => {
      const { stateFolder, checkpoints } = await findArchive(runId, state);
      output.result<CheckpointList>({ stateFolder, checkpoints: checkpoints.map(viewOf) }, listText);
    });
}

function addExportCommand(run: Command, output: Output): void {
  withCheckpointOptions(run.command("export"))
    .description("Write a checkpoint as a folder that transformers loads.")
    .requiredOption("--out <folder>", "where to; must not exist, or be empty")
    .addOption(
      new Option("--format <name>", "hf: all that transformers needs; safetensors: the weights alone")
        .choices(["hf", "safetensors"])
        .default("hf"),
    )
    .addOption(new Option("--dtype <name>", "what weights are stored as").choices(["f32", "bf16"]).default("f32"))
    .action(async (runId: RunId | undefined, { out, format, dtype, ...choice }: ExportOptions) => {
      // Loaded here, so that commands to a running daemon need not wait for it.
      const { exportCheckpoint } = await import("../../network/hugging-face/export-checkpoint.ts");
      const signal = cancelledWhenStopped("Nothing is exported");
      const checkpoint = await openChosen(runId, choice, output, signal);
      try {
        const folder = resolve(out);
        const onProgress = progressIn(output, "of the weights are written");
        const result = await exportCheckpoint(checkpoint, { format, type: dtype, folder, signal, onProgress });
        output.result<ExportedModel>({ checkpoint: viewOf(checkpoint.archived), folder, ...result }, exportText);
      } finally {
        await checkpoint.close();
      }
    });
}

function addSampleCommand(run: Command, output: Output): void {
  withCheckpointOptions(run.command("sample"))
    .description("Let a checkpoint, or a model in a folder, go on with a text.")
    .requiredOption("--prompt <text>", "what the text begins with")
    .option("--tokens <number>", "most tokens to write", countValue, 200)
    .option(
      "--temperature <number>",
      "0: always the likeliest token; 1: as the model has learned",
      temperatureValue,
      0.8,
    )
    .option("--seed <number>", "the same seed writes the same text", seedValue, 1)
    .option("--threads <number>", "processor threads to compute with", countValue, availableParallelism())
    .option("--from <folder>", "a folder that tah run export or transformers wrote, instead of a checkpoint")
    .addOption(
      new Option("--tokenizer <name>", "with --from, where the folder does not say").choices(tokenizerIdSchema.options),
    )
    .action(async (runId: RunId | undefined, options: SampleOptions) => {
      const [{ openModelFolder }, { writeText }] = await Promise.all([
        import("../../network/hugging-face/open-model.ts"),
        import("../../network/checkpoints/write-text.ts"),
      ]);
      const { prompt, tokens, temperature, seed, threads, from, tokenizer } = options;
      const signal = cancelledWhenStopped("The text ends here");
      const model = await (from === undefined
        ? openChosen(runId, options, output, signal)
        : openModelFolder(resolve(from), tokenizer));
      const writing = { prompt, tokens, temperature, seed, threads, backend: "native", signal } as const;
      try {
        let text = "";
        output.piece(prompt);
        for await (const piece of writeText(model, writing)) {
          output.piece(piece);
          text += piece;
        }
        output.result<WrittenText>({ prompt, text, seed, temperature }, () => "");
      } finally {
        await model.close();
      }
    });
}

function withCheckpointOptions(command: Command): Command {
  return withCommonOptions(
    command.argument("[run]", "its id; by default the one with the newest checkpoint", runIdValue),
  ).option(
    "--checkpoint <hash>",
    "which one, as tah run checkpoints lists them; by default the newest",
    checkpointValue,
  );
}

async function openChosen(
  runId: RunId | undefined,
  { state, checkpoint: name }: CheckpointOptions,
  output: Output,
  signal: AbortSignal,
) {
  const { openCheckpoint } = await import("../../network/checkpoints/open-checkpoint.ts");
  const { stateFolder, checkpoints } = await findArchive(runId, state);
  const archived = findCheckpoint(checkpoints, name);
  output.note(
    `Checkpoint ${shortId(archived.manifest.hash)}: epoch ${archived.epoch} of ${archived.runId}, from ${stateFolder}`,
  );
  return openCheckpoint(stateFolder, archived, signal);
}

function viewOf({ manifest, weights, optimizer, ...rest }: ArchivedCheckpoint): CheckpointView {
  const bytes = [...weights, ...(optimizer ?? [])].reduce((sum, blob) => sum + blob.bytes, 0);
  return { hash: manifest.hash, ...rest, bytes, hasOptimizer: optimizer !== null };
}

/** On a terminal one line that changes; elsewhere a line for every tenth. */
function progressIn(output: Output, what: string): (share: number) => void {
  let shown = "";
  return (share) => {
    const percent = output.rewritesProgress ? Math.floor(100 * share) : 10 * Math.floor(10 * share);
    const text = `${percent} % ${what}`;
    if (text !== shown) output.progress(text);
    shown = text;
  };
}

function listText({ stateFolder, checkpoints }: CheckpointList): string {
  const rows = checkpoints.map(({ hash, runId, epoch, tokens, trainLossNats, validationLossNats, bytes }) => {
    const losses = `loss ${lossText(trainLossNats)}, validation ${lossText(validationLossNats)}`;
    return `  ${hash.slice(0, 12)}  ${runId}  epoch ${epoch}: ${countText(tokens)} tokens, ${losses}, ${megabytes(bytes)}`;
  });
  return [`in ${stateFolder}`, ...rows].join("\n");
}

function exportText({ folder, checkpoint, files, weightsBytes }: ExportedModel): string {
  return `Epoch ${checkpoint.epoch} of ${checkpoint.runId} is in ${folder}: ${files.join(", ")}; ${megabytes(weightsBytes)} of weights.`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
