/** Shows the app: in Electron, else in a browser's own window, else in the browser, else by printing where it is. */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { FailureError } from "../../protocol/failure.ts";
import type { DaemonAddress } from "../../protocol/local-api.ts";
import { shellExitCodes } from "../../protocol/shell-exit-codes.ts";
import type { Output } from "../output.ts";
import { findElectron } from "./electron-binary.ts";

export interface OpenedApp {
  /** Resolves when the person has quit the app; never for a browser, which outlives its windows. */
  readonly quit: Promise<void>;
  close(): void;
}

export interface OpenOptions {
  readonly address: DaemonAddress;
  /** Of the daemon: Electron finds `daemon.json` there. */
  readonly daemonFolder: string;
  readonly requireElectron: boolean;
  readonly output: Output;
  /** Where Electron's program comes from. */
  readonly electronFinder?: typeof findElectron;
}

const never = new Promise<void>(() => undefined);
const nothingOpened: OpenedApp = { quit: never, close: () => undefined };

/** Rejects with `FailureError` electron-missing when it is required and cannot be had, or has no display. */
export async function openApp({
  address,
  daemonFolder,
  requireElectron,
  output,
  electronFinder = findElectron,
}: OpenOptions): Promise<OpenedApp> {
  const url = `${address.url}/?token=${address.token}`;
  if (requireElectron && !hasDisplay())
    throw new FailureError("electron-missing", "there is no display here to open Electron on", {
      action: "Start it where there is one, or leave --require-electron out to get the app's address.",
    });
  const electron = hasDisplay() ? await electronFinder((text) => output.note(text), requireElectron) : undefined;
  if (electron === undefined && requireElectron)
    throw new FailureError("electron-missing", "Electron's program is not here and could not be fetched", {
      action: "Connect to the internet and try again, or leave --require-electron out to use the browser.",
    });
  if (!hasDisplay()) {
    output.note(`There is no display here. The app is at ${url}`);
    return nothingOpened;
  }
  if (electron !== undefined) {
    const args = [...electron.args, `--daemon=${daemonFolder}`, ...asRoot()];
    return electronApp(spawnQuietly(electron.program, args), (how) =>
      output.note(`The app ${how}; the training goes on. In a browser it is at ${url}`),
    );
  }
  output.note("Electron's program cannot be had: the same app opens in the browser.");
  const browser = findBrowser();
  if (browser !== undefined) {
    const window = spawnQuietly(browser, browserArguments(url, join(daemonFolder, "browser")));
    return { quit: never, close: () => window.kill() };
  }
  const opener = systemOpener(url);
  if (opener === undefined) output.note(`No browser was found. The app is at ${url}`);
  else spawnQuietly(opener.program, opener.args).unref();
  return nothingOpened;
}

/** Only what ends well was quit by the person; where Electron cannot run, the training need not end. */
function electronApp(child: ChildProcess, onNotShown: (how: string) => void): OpenedApp {
  const quit = new Promise<void>((resolve) => {
    child.once("exit", (code, signal) => {
      if (code === 0) resolve();
      else if (code === shellExitCodes.alreadyOpen) onNotShown("is open already, maybe for another network");
      else onNotShown(`ended (${signal ?? `exit code ${code}`})`);
    });
    child.once("error", (error) => onNotShown(`ended (${error.message})`));
  });
  return { quit, close: () => child.kill() };
}

function spawnQuietly(program: string, args: readonly string[]): ChildProcess {
  const child = spawn(program, args, { stdio: "ignore", windowsHide: true });
  // A window that cannot be opened ends nothing: the address is printed, or the app's end is.
  child.once("error", () => undefined);
  return child;
}

function hasDisplay(): boolean {
  const { platform, env } = process;
  return platform === "win32" || platform === "darwin" || Boolean(env.DISPLAY || env.WAYLAND_DISPLAY);
}

/** A window of its own, with a profile of its own, so that it closes together with the network. */
function browserArguments(url: string, profile: string): readonly string[] {
  return [`--app=${url}`, `--user-data-dir=${profile}`, "--no-first-run", "--no-default-browser-check", ...asRoot()];
}

/** Chromium's sandbox does not work for root, who needs none of its protection to begin with in a container. */
function asRoot(): readonly string[] {
  return process.getuid?.() === 0 ? ["--no-sandbox"] : [];
}

function findBrowser(): string | undefined {
  const { PATH = "", PROGRAMFILES = "", "PROGRAMFILES(X86)": programFilesX86 = "" } = process.env;
  const candidates: Partial<Record<NodeJS.Platform, readonly string[]>> = {
    darwin: ["Google Chrome", "Chromium", "Microsoft Edge"].map(
      (name) => `/Applications/${name}.app/Contents/MacOS/${name}`,
    ),
    win32: [
      join(PROGRAMFILES, "Google", "Chrome", "Application", "chrome.exe"),
      join(programFilesX86, "Microsoft", "Edge", "Application", "msedge.exe"),
    ],
    linux: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge"].flatMap((name) =>
      PATH.split(delimiter).map((folder) => join(folder, name)),
    ),
  };
  return candidates[process.platform]?.find(isExecutable);
}

function systemOpener(url: string): { program: string; args: readonly string[] } | undefined {
  if (process.platform === "darwin") return { program: "open", args: [url] };
  if (process.platform === "win32") return { program: "rundll32", args: ["url.dll,FileProtocolHandler", url] };
  const opener = (process.env.PATH ?? "")
    .split(delimiter)
    .map((folder) => join(folder, "xdg-open"))
    .find(isExecutable);
  return opener === undefined ? undefined : { program: opener, args: [url] };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not there, or not for us
  }
}
