/** Starts `tah demo` as a process of its own and follows it through the daemon of this computer's miner. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { followRun } from "../../src/cli/demo/run-follower.ts";
import { demosFolderName, findDaemon, ownMinerFolderName } from "../../src/miner/find-daemon.ts";
import { connectLocalApi } from "../../src/miner/local-api/client.ts";
import type { AppView } from "../../src/protocol/app-view.ts";
import type { ProcessView } from "../../src/protocol/machine-view.ts";

const entry = fileURLToPath(new URL("../../src/cli/tah.ts", import.meta.url));

export interface DemoEnd {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class DemoProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<DemoEnd>;
  readonly #state: string;
  readonly #views = new EventEmitter<{ view: [AppView] }>();

  /** `network`: the name of its folder, as `demoFolderName` has it. */
  constructor(state: string, network: string, args: readonly string[]) {
    this.#state = state;
    // Without a display nothing opens a window.
    const env = { ...process.env, DISPLAY: "", WAYLAND_DISPLAY: "" };
    const child = spawn(process.execPath, [entry, "demo", "--json", "--state", state, ...args], { env });
    this.child = child;
    const following = new AbortController();
    const folder = join(state, demosFolderName, network, ownMinerFolderName);
    const onView = (view: AppView) => void this.#views.emit("view", view);
    const followed = followRun(folder, { onDaemon: () => undefined, onView }, following.signal);
    const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
    this.ended = Promise.all([closed, text(child.stdout), text(child.stderr)]).then(
      async ([exitCode, stdout, stderr]) => {
        following.abort();
        await followed;
        return { exitCode, stdout, stderr };
      },
    );
  }

  /** Waits for a view that is as expected; rejects when the demo ends before. */
  async until(expected: (view: AppView) => boolean): Promise<void> {
    const over = this.ended.then(({ stderr }) => Promise.reject(new Error(`the demo has ended:\n${stderr}`)));
    for (;;) {
      const [view] = await Promise.race([once(this.#views, "view") as Promise<[AppView]>, over]);
      if (expected(view)) return;
    }
  }

  async processes(): Promise<readonly ProcessView[]> {
    const api = await connectLocalApi(findDaemon(this.#state));
    try {
      return await api.call("processes", {});
    } finally {
      api.close();
    }
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
