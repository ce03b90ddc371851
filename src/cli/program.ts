/**
 * `tah`: the command line. It imports `miner` and `network` to run them, and speaks to a running daemon through its local API.
 * One file per group of commands in `commands/`; the local demo network is in `demo/`.
 */
import { Command, CommanderError } from "commander";
import { FailureError } from "../protocol/failure.ts";
import { addDaemonCommands } from "./commands/daemon.ts";
import { addDemoCommand } from "./commands/demo.ts";
import { addMineCommand } from "./commands/mine.ts";
import { addNetworkCommands } from "./commands/network.ts";
import { addOpenCommand } from "./commands/open.ts";
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
    // Commander has printed the help or the usage error already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    if (error instanceof FailureError) {
      output.failure(error.failure);
      tellParent({ type: "failed", failure: error.failure });
      return exitCodeOf(error.failure.code);
    }
    output.bug(error);
    return exitCodes.bug;
  }
}

function createProgram(output: Output, { stdout, stderr }: Streams): Command {
  const program = new Command("tah")
    .description("Train large language models together, on the machines people already own.")
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) })
    .showHelpAfterError("(tah help COMMAND tells more)");
  addDemoCommand(program, output);
  addMineCommand(program, output);
  addNetworkCommands(program, output);
  addRunCommands(program, output);
  addDaemonCommands(program, output);
  addOpenCommand(program, output);
  addVersionCommand(program, output);
  return program;
}
