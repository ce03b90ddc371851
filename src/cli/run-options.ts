/** Flags that say what is trained and how it is cut up: the same for `tah demo` and `tah network serve`. */
import { type Command, Option } from "commander";
import { tokenizerIdSchema } from "../compute/data/tokenizer.ts";
import { presets } from "../compute/model/presets.ts";
import type { RunOptions as NetworkRunOptions } from "../network/run-options.ts";
import { countValue, seedValue } from "./option-types.ts";

/** Where a network that other computers join listens, unless told otherwise. */
export const defaultNetworkPort = 7700;

/** What can be asked for by flags. */
export type RunOptions = Omit<NetworkRunOptions, "training" | "timeouts">;

export function withRunOptions(command: Command): Command {
  return command
    .addOption(new Option("--preset <name>", "which model to train").choices(Object.keys(presets)).default("demo"))
    .addOption(new Option("--stages <number>", "cut the model into so many stages").argParser(countValue))
    .addOption(new Option("--replicas <number>", "miners per stage").argParser(countValue).default(2))
    .addOption(new Option("--data <path>", "train on your own .txt or .jsonl text instead of the public-domain one"))
    .addOption(new Option("--from <folder>", "go on with this model, as tah run export or transformers wrote it"))
    .addOption(
      new Option("--tokenizer <name>", "of that model, where its folder does not say").choices(
        tokenizerIdSchema.options,
      ),
    )
    .addOption(new Option("--tokens <number>", "stop after so many trained tokens").argParser(countValue))
    .addOption(new Option("--seed <number>", "of the first weights and the order of the text").argParser(seedValue))
    .addOption(new Option("--mode <name>", "how replicas learn from each other").choices(["sync", "local-steps"]));
}

/** The same options as flags, for a child process. */
export function runArguments(options: RunOptions): string[] {
  const { preset, stages, replicas, data, from, tokenizer, tokens, seed, mode } = options;
  return Object.entries({ preset, stages, replicas, data, from, tokenizer, tokens, seed, mode }).flatMap(
    ([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)]),
  );
}
