import { spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import { root, stampFolder } from "./folders.mjs";

/**
 * Where Node keeps what it made of TypeScript. With it a process and those that it starts do without Node's compiler, which
 * takes 30 MiB of each and 0.1 s of its start.
 */
const compileCache = { NODE_COMPILE_CACHE: join(stampFolder, "compiled") };

/** @typedef {{ code: number, output: string }} ChildResult */

/**
 * Runs a program to its end and keeps what it printed.
 * @param {string} program
 * @param {readonly string[]} args
 * @returns {Promise<ChildResult>}
 */
export function runCaptured(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

/**
 * Runs a program in the foreground: it shares this terminal, gets this process's signals and, over a channel that closes with this
 * process, learns when it is gone. Resolves with its exit code.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} [environment]
 * @returns {Promise<number>}
 */
export function runForeground(program, args, environment = { ...compileCache, ...process.env }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: environment, stdio: ["inherit", "inherit", "inherit", "ipc"] });
    for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]))
      process.on(signal, () => child.kill(signal));
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}
