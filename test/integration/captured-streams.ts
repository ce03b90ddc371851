/** Runs a command of `tah` and keeps what it printed. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../src/cli/program.ts";

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** In this process. */
export async function runTah(...args: readonly string[]): Promise<CommandResult> {
  const written = { stdout: "", stderr: "" };
  const exitCode = await runCommandLine(args, {
    stdout: { write: (text) => (written.stdout += text) },
    stderr: { write: (text) => (written.stderr += text) },
  });
  return { exitCode, ...written };
}

const entry = fileURLToPath(new URL("../../src/cli/tah.ts", import.meta.url));

/** In a process of its own: for commands that listen for signals, and for the end of their parent. */
export async function runTahProcess(...args: readonly string[]): Promise<CommandResult> {
  const child = spawn(process.execPath, [entry, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [exitCode, stdout, stderr] = await Promise.all([closed, text(child.stdout), text(child.stderr)]);
  return { exitCode: exitCode ?? -1, stdout, stderr };
}

/** The last line of standard output, which is one JSON object and nothing else. */
export function jsonResult({ stdout }: { readonly stdout: string }): unknown {
  const lines = stdout.trimEnd().split("\n");
  return JSON.parse(lines.at(-1) ?? "");
}
