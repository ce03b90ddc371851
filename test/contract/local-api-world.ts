/** A whole daemon in a temporary folder, except that its miner is a fake: what tests of the local API and its clients talk to. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DaemonOptions, type RunningDaemon, startDaemon } from "../../src/miner/daemon.ts";
import { minerIdSchema, runIdSchema } from "../../src/protocol/ids.ts";
import type { Receipt } from "../../src/protocol/messages.ts";
import type { EpochRecord, RunView, Telemetry } from "../../src/protocol/run-view.ts";
import { FakeMiner } from "./fake-miner.ts";

export interface DaemonWorld {
  readonly stateFolder: string;
  readonly daemon: RunningDaemon;
  readonly miner: FakeMiner;
  /** Ends the daemon and removes its folder. */
  close(): Promise<void>;
}

export const otherMiner = minerIdSchema.parse("ab".repeat(32));

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
      apiPort: 0,
    },
    backend: "reference",
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

export function exampleRun(change: Partial<RunView> = {}): RunView {
  return {
    runId: runIdSchema.parse("demo"),
    name: "Demo",
    preset: "tiny",
    parameters: 1000,
    layers: 2,
    width: 16,
    vocabulary: 256,
    tokenizer: "bytes",
    mode: "local-steps",
    microbatchTokens: 64,
    targetTokens: null,
    phase: "training",
    reason: "",
    epoch: 1,
    attempt: 0,
    phaseSinceMs: 1_000,
    tokens: 4096,
    microbatchesLost: 0,
    stages: [],
    credits: {},
    checkpoint: null,
    ...change,
  };
}

export function exampleEpoch(epoch: number): EpochRecord {
  return {
    epoch,
    tokens: (epoch + 1) * 4096,
    trainLossNats: 5 / (epoch + 1),
    finishedAtMs: 1_000 * epoch,
    durationMs: 900,
    contributors: 2,
  };
}

export function exampleTelemetry(atMs: number, othersTokensPerSecond: number): Telemetry {
  return {
    atMs,
    microbatchesDone: 3,
    microbatchesPlanned: 8,
    trainLossNats: 2.5,
    miners: [
      { minerId: otherMiner, tokensPerSecond: othersTokensPerSecond, microbatchesInFlight: 1, memoryBytes: 1 << 20 },
    ],
    flows: [],
  };
}

export function exampleReceipt(miner: FakeMiner, epoch: number): Receipt {
  return {
    networkId: "test-network",
    minerId: miner.options.identity.minerId,
    at: { runId: runIdSchema.parse("demo"), epoch, attempt: 0 },
    stage: 0,
    tokens: 100,
    checks: ["merged-hash-agrees"],
    microCredits: 50_000,
    atMs: 1_000 * epoch,
  };
}
