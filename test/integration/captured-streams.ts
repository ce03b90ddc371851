/** Runs a command of `tah` in this process and keeps what it printed. */
import { runCommandLine } from "../../src/cli/program.ts";

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function runTah(...args: readonly string[]): Promise<CommandResult> {
  const written = { stdout: "", stderr: "" };
  const exitCode = await runCommandLine(args, {
    stdout: { write: (text) => (written.stdout += text) },
    stderr: { write: (text) => (written.stderr += text) },
  });
  return { exitCode, ...written };
}

/** The last line of standard output, which is one JSON object and nothing else. */
export function jsonResult({ stdout }: { readonly stdout: string }): unknown {
  const lines = stdout.trimEnd().split("\n");
  return JSON.parse(lines.at(-1) ?? "");
}
