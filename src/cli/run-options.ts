/** Flags that say what is trained and how it is cut up: the same for `tah demo`, `tah network serve` and `tah run create`. */
import { type Command, Option } from "commander";
import { tokenizerIdSchema } from "../compute/data/tokenizer.ts";
import { type PresetName, presets } from "../compute/model/presets.ts";
import type { RunOptions as NetworkRunOptions } from "../network/run-options.ts";
import { FailureError } from "../protocol/failure.ts";
import {
  compressionChoiceSchema,
  exchangeNameSchema,
  mergeCodecNameSchema,
  rowFormatSchema,
  trainingConfigSchema,
} from "../protocol/run-config.ts";
import { channelsValue, countValue, lagValue, rankValue, seedValue, stalenessValue } from "./option-types.ts";

/** Where a network that other computers join listens, unless told otherwise. */
export const defaultNetworkPort = 7700;

/** What can be asked for by flags. */
export type RunOptions = Omit<NetworkRunOptions, "runId" | "training" | "timeouts" | "merge">;

/** `RunOptions` of a command that may do without a run. */
export type OptionalRunOptions = Omit<RunOptions, "preset"> & { readonly preset?: PresetName };

export function presetOption(): Option {
  return new Option("--preset <name>", "which model to train").choices(Object.keys(presets));
}

export function withRunOptions(command: Command, preset: Option): Command {
  return command
    .addOption(preset)
    .addOption(new Option("--stages <number>", "cut the model into so many stages").argParser(countValue))
    .addOption(new Option("--replicas <number>", "miners per stage").argParser(countValue).default(2))
    .addOption(
      new Option(
        "--data <path>",
        "train on your own .txt or .jsonl text, on the orchestrator's computer, instead of the public-domain one",
      ),
    )
    .addOption(
      new Option(
        "--from <model>",
        "go on with it: a folder there, as tah run export or transformers wrote it, or a checkpoint of this network",
      ),
    )
    .addOption(
      new Option("--tokenizer <name>", "of that model, where its folder does not say").choices(
        tokenizerIdSchema.options,
      ),
    )
    .addOption(new Option("--tokens <number>", "stop after so many trained tokens").argParser(countValue))
    .addOption(new Option("--seed <number>", "of the first weights and the order of the text").argParser(seedValue))
    .addOption(new Option("--mode <name>", "how replicas learn from each other").choices(["sync", "local-steps"]))
    .addOption(
      new Option(
        "--steps-per-epoch <number>",
        "optimizer steps between two merges: more cost less traffic, and some loss; 1 in sync mode",
      ).argParser(countValue),
    )
    .addOption(
      new Option(
        "--microbatches-per-step <number>",
        "of each source, in every optimizer step: more keep the pipeline fuller, and teach less each",
      ).argParser(countValue),
    )
    .addOption(
      new Option(
        "--sequences-per-microbatch <number>",
        "smaller ones keep the pipeline fuller, and take less memory",
      ).argParser(countValue),
    )
    .addOption(
      new Option(
        "--max-staleness <number>",
        "optimizer steps by which a microbatch may run ahead of a slower replica: 0, the best for the loss, keeps all in step",
      ).argParser(stalenessValue),
    )
    .addOption(
      new Option("--optimizer <name>", "nadam makes staleness cost less").choices(
        trainingConfigSchema.shape.optimizer.unwrap().options,
      ),
    )
    .addOption(
      new Option(
        "--compression <how>",
        "auto: as mildly as home links allow, and as the miners' links turn out; off: nothing but what other flags ask for",
      ).choices(compressionChoiceSchema.options),
    )
    .addOption(
      new Option(
        "--exchange <codec>",
        "average what every optimizer step moves with the other replicas of the stage, in so many bits per parameter, instead of at merges only",
      ).choices(exchangeNameSchema.options),
    )
    .addOption(
      new Option(
        "--exchange-lag <steps>",
        "0: every step waits for the others; 1: it goes on meanwhile, and makes up for it one step later",
      ).argParser(lagValue),
    )
    .addOption(
      new Option(
        "--merge-codec <codec>",
        "merge in so many bits per parameter, or so many percent of them; what is rounded away goes along with the next merge",
      ).choices(mergeCodecNameSchema.options),
    )
    .addOption(
      new Option(
        "--bottleneck <rank>",
        "squeeze the model to so many channels wherever it is cut: much less traffic, and some loss; 0 leaves it as it is",
      ).argParser(rankValue),
    )
    .addOption(new Option("--bottleneck-hidden <number>", "channels inside the bottlenecks").argParser(channelsValue))
    .addOption(
      new Option("--boundary-forward <format>", "what activations cross between stages in").choices(
        rowFormatSchema.options,
      ),
    )
    .addOption(
      new Option("--boundary-backward <format>", "what their gradients cross in, which bear fewer bits").choices(
        rowFormatSchema.options,
      ),
    );
}

/** All but `preset`: they say nothing without one. */
const describing = [
  ...["stages", "replicas", "data", "from", "tokenizer", "tokens", "seed"],
  ...["mode", "optimizer", "stepsPerEpoch", "microbatchesPerStep", "sequencesPerMicrobatch", "maxStaleness"],
  ...["compression", "exchange", "exchangeLag", "mergeCodec"],
  ...["bottleneck", "bottleneckHidden", "boundaryForward", "boundaryBackward"],
];

/** Nothing but them: other options may come with them. */
export function runOptionsOf(options: RunOptions): RunOptions {
  const { preset, stages, replicas, data, from, tokenizer, tokens, seed, mode } = options;
  const { optimizer, stepsPerEpoch, microbatchesPerStep, sequencesPerMicrobatch, maxStaleness } = options;
  const { exchange, exchangeLag, mergeCodec } = options;
  const { bottleneck, bottleneckHidden, boundaryForward, boundaryBackward, compression } = options;
  const steps = { stepsPerEpoch, microbatchesPerStep, sequencesPerMicrobatch, maxStaleness };
  const how = { mode, optimizer, ...steps, exchange, exchangeLag, mergeCodec };
  const boundary = { compression, bottleneck, bottleneckHidden, boundaryForward, boundaryBackward };
  return { preset, stages, replicas, data, from, tokenizer, tokens, seed, ...how, ...boundary };
}

/** Undefined where no run is asked for. Throws `FailureError` (invalid-option) where one is described without its preset. */
export function askedRun({ preset, ...options }: OptionalRunOptions, command: Command): RunOptions | undefined {
  if (preset !== undefined) return runOptionsOf({ ...options, preset });
  const stray = describing.find((name) => command.getOptionValueSource(name) === "cli");
  if (stray === undefined) return undefined;
  throw new FailureError("invalid-option", `${flagOf(stray)} says how a run is trained, but not which.`, {
    action: "Add --preset.",
  });
}

/** The same options as flags, for a child process. */
export function runArguments(options: RunOptions): string[] {
  return Object.entries(runOptionsOf(options)).flatMap(([name, value]) =>
    value === undefined ? [] : [flagOf(name), String(value)],
  );
}

/** stepsPerEpoch → --steps-per-epoch */
function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
