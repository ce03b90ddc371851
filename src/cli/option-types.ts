/** Checks of flag values, by zod schemas, reported by commander as usage errors that name the flag. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { keyStoreChoiceSchema } from "../miner/key-store/key-store.ts";
import { minerIdSchema } from "../protocol/ids.ts";
import { type ConnectionRules, connectionRulesSchema } from "../protocol/machine-view.ts";
import { maximumWidth } from "../protocol/run-config.ts";

export function valueParser<S extends z.ZodType>(schema: S): (text: string) => z.output<S> {
  return (text) => {
    const parsed = schema.safeParse(text);
    if (parsed.success) return parsed.data;
    throw new InvalidArgumentError(parsed.error.issues.map((issue) => issue.message).join("; "));
  };
}

const decimal = z
  .string()
  .regex(/^\d+(\.\d+)?$/, "expected a number")
  .transform(Number);
export const wholeNumber = z.string().regex(/^\d+$/, "expected a whole number").transform(Number);

const megabits = valueParser(decimal.pipe(connectionRulesSchema.shape.maxUploadMbps.unwrap()));

export const rateValue = valueParser(decimal.pipe(z.number().positive("expected more than 0")));
export const countValue = valueParser(wholeNumber.pipe(z.int().positive("expected at least 1")));
export const seedValue = valueParser(wholeNumber.pipe(z.int().nonnegative()));
export const stalenessValue = valueParser(wholeNumber.pipe(z.int().nonnegative()));
export const lagValue = valueParser(z.enum(["0", "1"]).transform((text): 0 | 1 => (text === "1" ? 1 : 0)));
export const rankValue = valueParser(wholeNumber.pipe(z.int().max(maximumWidth)));
export const channelsValue = valueParser(wholeNumber.pipe(z.int().positive("expected at least 1").max(maximumWidth)));
export const portValue = valueParser(wholeNumber.pipe(z.int().max(65_535, "a port is at most 65535")));
export const ipv4Value = valueParser(z.ipv4("expected an IPv4 address"));
export const minutesValue = valueParser(decimal.pipe(z.number().positive("expected more than 0")));
export const temperatureValue = valueParser(decimal.pipe(z.number().max(10, "a temperature is at most 10")));
/** Of a cap: "none" lifts one that is set elsewhere. */
const megabitsValue = (text: string): number | "none" => (text === "none" ? text : megabits(text));
export const minerIdValue = valueParser(minerIdSchema);
/** With what may be behind its `#`; whoever uses it takes it apart. */
export const networkUrlValue = valueParser(
  z.url({ protocol: /^wss?$/, error: "expected ws://HOST:PORT or wss://HOST:PORT" }),
);

export interface CommonOptions {
  readonly json?: boolean;
  readonly state?: string;
}

export interface ConnectionOptions {
  readonly maxUploadMbps?: number | "none";
  readonly maxDownloadMbps?: number | "none";
  readonly onMetered?: ConnectionRules["onMetered"];
}

/** Adds the flags that say what this machine may send and receive. */
export function withConnectionOptions(command: Command): Command {
  const { options } = connectionRulesSchema.shape.onMetered;
  return command
    .option("--max-upload-mbps <number>", "most megabits per second to send; none: no limit", megabitsValue)
    .option("--max-download-mbps <number>", "most megabits per second to receive; none: no limit", megabitsValue)
    .addOption(new Option("--on-metered <what>", "to do on a metered connection").choices(options));
}

/** Of commands that may make or bring a key. */
export function keyStoreOption(): Option {
  return new Option(
    "--key-store <place>",
    "for a new key: this computer's key store or a file; auto: the former where it opens without a person",
  ).choices(keyStoreChoiceSchema.options);
}

/** Adds the flags that every command has. */
export function withCommonOptions(command: Command): Command {
  return command
    .addOption(new Option("--json", "print the result as one JSON object on the last line of standard output"))
    .addOption(
      new Option("--state <folder>", "where this computer's identity, data and logs are kept (also TAH_STATE)"),
    );
}
