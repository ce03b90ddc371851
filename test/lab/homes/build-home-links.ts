/** The program that emulates lines, compiled where it is wanted, with the compiler that the native addon is built with. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findToolchain } from "../../../scripts/build-native.mjs";
import { runCaptured } from "../../../scripts/setup/child.mjs";
import { root } from "../../../scripts/setup/folders.mjs";

const sourceFolder = fileURLToPath(new URL("./", import.meta.url));
const buildFolder = join(root, "native-bridge", "build", "lab");
const flags = ["-std=c++17", "-O2", "-Wall", "-Wextra"];

/** Returns its file. Rejects with `SetupFailure` (no-compiler), and with what the compiler says where it cannot compile it. */
export async function buildHomeLinks(): Promise<string> {
  const { command, version } = await findToolchain();
  const [program = "", ...args] = command;
  const hash = createHash("sha256").update(JSON.stringify([command, version, flags]));
  for (const name of readdirSync(sourceFolder).filter((name) => /\.(cc|h)$/.test(name)))
    hash.update(`\0${name}\0`).update(readFileSync(join(sourceFolder, name)));
  const file = join(buildFolder, `home-links-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(file)) return file;
  mkdirSync(buildFolder, { recursive: true });
  const compiled = `${file}.${process.pid}`;
  const source = join(sourceFolder, "home-links.cc");
  const { code, output } = await runCaptured(program, [...args, ...flags, source, "-o", compiled]);
  if (code !== 0) throw new Error(`home-links did not compile: ${output}`);
  renameSync(compiled, file);
  return file;
}
