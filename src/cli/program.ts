/**
 * `tah`: the command line. It imports `miner` and `network` to run them, and speaks to a running daemon through its local API.
 * One file per group of commands in `commands/`; the local demo network is in `demo/`.
 */
import { Command, CommanderError } from "commander";
import { type Failure, FailureError, failureOf } from "../protocol/failure.ts";
import { looksSecret, secretFailure } from "../protocol/secrets.ts";
import { addBenchCommand } from "./commands/bench.ts";
import { addCheckpointCommands } from "./commands/checkpoints.ts";
import { addDaemonCommands } from "./commands/daemon.ts";
import { addDemoCommand } from "./commands/demo.ts";
import { addHotkeyCommands } from "./commands/hotkey.ts";
import { addIdentityCommands } from "./commands/identity.ts";
import { addMineCommand } from "./commands/mine.ts";
import { addNetworkCommands } from "./commands/network.ts";
import { addOpenCommand } from "./commands/open.ts";
import { addPayoutCommands } from "./commands/payout.ts";
import { addRunCommands } from "./commands/run.ts";
import { addVersionCommand } from "./commands/version.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { Output, type Streams } from "./output.ts";
import { tellParent } from "./process-messages.ts";

/** Runs one command and resolves with its exit code. Never rejects. */
export async function runCommandLine(args: readonly string[], streams: Streams): Promise<number> {
  const output = new Output(streams, args.includes("--json"));
  try {
    await createProgram(output, streams).parseAsync(args, { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    // Commander has printed the help that was asked for.
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
    const failure = error instanceof CommanderError ? usageFailure(error, args) : failureOf(error);
    if (failure === undefined) {
      output.bug(error);
      return exitCodes.bug;
    }
    output.failure(failure);
    tellParent({ type: "failed", failure });
    return exitCodeOf(failure.code);
  }
}

/** A group of commands without one of them is answered by its help, which says it all. */
function usageFailure({ code, message }: CommanderError, args: readonly string[]): Failure {
  const text = code === "commander.help" ? "a command is missing" : message.replace(/^error: /, "");
  if (holdsSecret(args, text)) return secretFailure().failure;
  return new FailureError("invalid-option", text, { action: "tah help COMMAND tells what there is." }).failure;
}

/**
 * Where addresses are asked for somebody may paste a secret, and commander repeats what it refuses. Elsewhere keys and hashes are none.
 */
function holdsSecret(args: readonly string[], refusal: string): boolean {
  if (args[0] !== "payout" && args[0] !== "hotkey") return false;
  // A signature is as long as a private key; the command itself tells them apart.
  const others = args.filter((arg) => !/^(0x)?[0-9a-f]{128}$/i.test(arg));
  return looksSecret(others.join(" ")) || looksSecret(refusal.replaceAll("'", " "));
}

function createProgram(output: Output, { stdout, stderr }: Streams): Command {
  const program = new Command("tah")
    .description("Train large language models together, on the machines people already own.")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      // Usage errors are reported like all other failures.
      outputError: () => undefined,
    });
  addDemoCommand(program, output);
  addMineCommand(program, output);
  addNetworkCommands(program, output);
  addCheckpointCommands(addRunCommands(program, output), output);
  addDaemonCommands(program, output);
  addIdentityCommands(program, output);
  addPayoutCommands(program, output);
  addHotkeyCommands(program, output);
  addBenchCommand(program, output);
  addOpenCommand(program, output);
  addVersionCommand(program, output);
  return program;
}
