/** Electron's program. Its npm package comes without it and fetches it from elsewhere, which may not be possible. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const fetchTimeoutMs = 20_000;
const root = fileURLToPath(new URL("../../../", import.meta.url));
const electronPackage = join(root, "node_modules", "electron");
/** Says that fetching was tried: a start without a network must not wait for it again. */
const triedStamp = join(root, ".setup", "electron-tried");

const programNames: Partial<Record<NodeJS.Platform, string>> = {
  darwin: "Electron.app/Contents/MacOS/Electron",
  win32: "electron.exe",
};

export interface ElectronProgram {
  readonly program: string;
  /** Which app to run: this clone. */
  readonly args: readonly string[];
}

/** Undefined when it is not here and could not be fetched; that is tried once for each version, and `again` when asked to. */
export async function findElectron(note: (text: string) => void, again: boolean): Promise<ElectronProgram | undefined> {
  const present = installedElectron();
  if (present !== undefined || !existsSync(electronPackage) || (wasTried() && !again)) return present;
  note("Fetching Electron's program (at most 20 s) …");
  await fetchElectron();
  mkdirSync(join(root, ".setup"), { recursive: true });
  writeFileSync(triedStamp, electronVersion());
  return installedElectron();
}

function installedElectron(): ElectronProgram | undefined {
  const folder = process.env.ELECTRON_OVERRIDE_DIST_PATH ?? join(electronPackage, "dist");
  const program = join(folder, programNames[process.platform] ?? "electron");
  return existsSync(program) ? { program, args: [root] } : undefined;
}

function fetchElectron(): Promise<void> {
  const child = spawn(process.execPath, [join(electronPackage, "install.js")], {
    stdio: "ignore",
    timeout: fetchTimeoutMs,
  });
  return new Promise((resolve) => child.once("exit", () => resolve()).once("error", () => resolve()));
}

function wasTried(): boolean {
  return existsSync(triedStamp) && readFileSync(triedStamp, "utf8") === electronVersion();
}

function electronVersion(): string {
  return readFileSync(join(electronPackage, "package.json"), "utf8");
}
