/** A whole daemon in a temporary folder, except that its miner is a fake: what tests of the local API and its clients talk to. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningDaemon, startDaemon } from "../../src/miner/daemon.ts";
import type { DaemonOptions } from "../../src/miner/daemon-parts.ts";
import { FakeMiner } from "./fake-miner.ts";

export interface DaemonWorld {
  readonly stateFolder: string;
  readonly daemon: RunningDaemon;
  readonly miner: FakeMiner;
  /** Ends the daemon and removes its folder. */
  close(): Promise<void>;
}

export async function startDaemonWorld(options: Partial<DaemonOptions> = {}): Promise<DaemonWorld> {
  const stateFolder = options.stateFolder ?? temporaryFolder();
  let miner: FakeMiner | undefined;
  const daemon = await startDaemon({
    stateFolder,
    settings: {
      networkUrl: "ws://127.0.0.1:9/session",
      name: "test machine",
      threads: 1,
      memoryLimitBytes: 1 << 30,
      maximumStages: 64,
      apiPort: 0,
      maxUploadMbps: null,
      maxDownloadMbps: null,
      onMetered: "pause",
      payoutAddress: null,
      direct: "off",
      keyStore: "file",
    },
    device: { backend: "reference", precision: "f32", adapter: null },
    createMiner(minerOptions) {
      miner = new FakeMiner(minerOptions);
      return miner;
    },
    ...options,
  });
  if (miner === undefined) throw new Error("the daemon made no miner");
  return {
    stateFolder,
    daemon,
    miner,
    async close() {
      await daemon.close();
      rmSync(stateFolder, { recursive: true, force: true });
    },
  };
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "tah-test-"));
}
