/** Starts the daemon where none runs: a local network, on the Node that comes along, never on Electron's own. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

/** Work in hand is passed on for so long when the app is quit. */
const handOverMs = 5_000;

export interface DaemonProgram {
  readonly node: string;
  readonly entry: string;
}

/** Packaged: below the app's resources. Otherwise: this clone. */
export function daemonProgram(packaged: boolean, resourcesFolder: string, appFolder: string): DaemonProgram {
  const nodeName = process.platform === "win32" ? "node.exe" : "node";
  if (packaged)
    return { node: join(resourcesFolder, "node", nodeName), entry: join(resourcesFolder, "daemon", "tah.mjs") };
  return { node: join(appFolder, "node_modules", ".bin", nodeName), entry: join(appFolder, "src", "cli", "tah.ts") };
}

export class DaemonProcess {
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;

  constructor({ node, entry }: DaemonProgram) {
    this.#child = spawn(node, [entry, "demo"], { stdio: ["ignore", "ignore", "inherit", "ipc"], windowsHide: true });
    this.#gone = new Promise((resolve) => {
      this.#child.once("exit", () => resolve());
      this.#child.once("error", (error) => {
        console.error(`the daemon could not be started: ${error.message}`);
        resolve();
      });
    });
  }

  /** Closing the channel asks it to hand over and end. */
  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), handOverMs);
    await this.#gone;
    clearTimeout(timer);
  }
}
