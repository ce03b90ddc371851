/** Flags that say what is trained and how it is cut up: the same for `tah demo`, `tah network serve` and `tah run create`. */
import { type Command, Option } from "commander";
import { tokenizerIdSchema } from "../compute/data/tokenizer.ts";
import { type PresetName, presets } from "../compute/model/presets.ts";
import type { RunOptions as NetworkRunOptions } from "../network/run-options.ts";
import { FailureError } from "../protocol/failure.ts";
import { countValue, seedValue } from "./option-types.ts";

/** Where a network that other computers join listens, unless told otherwise. */
export const defaultNetworkPort = 7700;

/** What can be asked for by flags. */
export type RunOptions = Omit<NetworkRunOptions, "runId" | "training" | "timeouts">;

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
    .addOption(new Option("--mode <name>", "how replicas learn from each other").choices(["sync", "local-steps"]));
}

/** Nothing but them: other options may come with them. */
export function runOptionsOf(options: RunOptions): RunOptions {
  const { preset, stages, replicas, data, from, tokenizer, tokens, seed, mode } = options;
  return { preset, stages, replicas, data, from, tokenizer, tokens, seed, mode };
}

/** Undefined where no run is asked for. Throws `FailureError` (invalid-option) where one is described without its preset. */
export function askedRun({ preset, ...options }: OptionalRunOptions, command: Command): RunOptions | undefined {
  if (preset !== undefined) return runOptionsOf({ ...options, preset });
  const stray = ["stages", "replicas", "data", "from", "tokenizer", "tokens", "seed", "mode"].find(
    (name) => command.getOptionValueSource(name) === "cli",
  );
  if (stray === undefined) return undefined;
  throw new FailureError("invalid-option", `--${stray} says how a run is trained, but not which.`, {
    action: "Add --preset.",
  });
}

/** The same options as flags, for a child process. */
export function runArguments(options: RunOptions): string[] {
  return Object.entries(runOptionsOf(options)).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, String(value)],
  );
}
