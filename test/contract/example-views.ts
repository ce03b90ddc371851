/** Views of a small run, for tests. */
import { initialState } from "../../src/miner/local-api/app-state.ts";
import { type MinerId, minerIdSchema, runIdSchema } from "../../src/protocol/ids.ts";
import type { AppState } from "../../src/protocol/machine-view.ts";
import type { PlacementView } from "../../src/protocol/placement-view.ts";
import type { Plan } from "../../src/protocol/plan-view.ts";
import type { Receipt } from "../../src/protocol/receipt.ts";
import { noCompression } from "../../src/protocol/run-config.ts";
import type { EpochRecord, RunSummary, RunView, Telemetry } from "../../src/protocol/run-view.ts";

const otherMiner = minerIdSchema.parse("ab".repeat(32));

export const examplePlan: Plan = {
  compression: noCompression,
  bottleneckRank: null,
  stepsPerEpoch: 16,
  microbatchesPerStep: 4,
  sequencesPerMicrobatch: 2,
  tokensPerStep: 16_384,
  microbatchesInFlight: 4,
  link: { upBytesPerSecond: 2.5e6, downBytesPerSecond: 12.5e6, roundTripMs: 40 },
  tokensPerSecond: 1000,
  efficiency: 0.5,
  lossGapPercent: 2,
  measured: null,
  costs: [
    {
      part: "boundaries",
      bytesPerToken: 1024,
      bytesPerEpoch: 1 << 20,
      uplinkShare: 0.4,
      downlinkShare: 0.1,
      waitShare: 0.3,
      lossGapPercent: 0,
      measured: "nothing is rounded",
    },
  ],
};

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
    partitionsLost: 0,
    stages: [],
    placement: null,
    links: {},
    credits: {},
    checkpoint: null,
    checkpointUpload: null,
    boundaryFormats: noCompression.boundary,
    transmission: {
      columns: 16,
      forwardBytesPerToken: 64,
      backwardBytesPerToken: 64,
      boundaryRatio: 0.5,
      mergeBytesPerParameter: 4,
      exchangeBytesPerParameter: null,
    },
    boundaries: [],
    alarms: [],
    plan: { current: examplePlan, recommended: examplePlan },
    ...change,
  };
}

export function examplePlacement(): PlacementView {
  const place = { kind: "placed", reason: "kept", neededBytes: 1 << 20, freeBytes: 1 << 20, share: 1 } as const;
  return {
    tokensPerSecond: 50,
    stages: [
      { index: 0, tokensPerSecond: 50, bottleneck: true },
      { index: 1, tokensPerSecond: 70, bottleneck: false },
    ],
    explanations: [
      { ...place, minerId: otherMiner, stage: 0 },
      { ...place, minerId: otherMiner, stage: 1 },
    ],
    departures: [{ minerId: otherMiner, tokensPerSecond: 0, uncovered: [0, 1] }],
  };
}

export function exampleSummary(change: Partial<RunSummary> = {}): RunSummary {
  const { runId, name, preset, phase, reason, epoch, tokens, targetTokens } = exampleRun();
  const losses = { trainLossNats: 2.5, validationLossNats: null };
  const run = { runId, name, preset, phase, reason, epoch, tokens, targetTokens };
  return { ...run, ...losses, weight: 1, miners: 2, ...change };
}

export function exampleEpoch(epoch: number): EpochRecord {
  return {
    epoch,
    tokens: (epoch + 1) * 4096,
    trainLossNats: 5 / (epoch + 1),
    finishedAtMs: 1_000 * epoch,
    durationMs: 900,
    contributors: 2,
    partitionsLost: 0,
  };
}

export function exampleTelemetry(atMs: number, othersTokensPerSecond: number): Telemetry {
  return {
    atMs,
    microbatchesDone: 3,
    microbatchesPlanned: 8,
    trainLossNats: 2.5,
    microbatchesRerouted: 0,
    microbatchesStale: 0,
    messagesDamaged: 0,
    staleness: { mean: 0, most: 0 },
    miners: [
      { minerId: otherMiner, tokensPerSecond: othersTokensPerSecond, microbatchesInFlight: 1, memoryBytes: 1 << 20 },
    ],
    flows: [],
  };
}

export function exampleReceipt(minerId: MinerId, epoch: number): Receipt {
  return {
    networkId: "test-network",
    minerId,
    at: { runId: runIdSchema.parse("demo"), epoch, attempt: 0 },
    stage: 0,
    tokens: 100,
    checks: ["merged-hash-agrees"],
    microCredits: 50_000,
    atMs: 1_000 * epoch,
  };
}

export function exampleState(): AppState {
  return initialState({
    minerId: minerIdSchema.parse("cd".repeat(32)),
    name: "test machine",
    version: "0.1.0",
    pid: 1,
    startedAtMs: 0,
    device: {
      platform: "test",
      cpu: "test",
      cores: 1,
      memoryBytes: 1 << 30,
      memoryLimitBytes: 1 << 29,
      maximumStages: 64,
      backend: "reference",
      precision: "f32",
      adapter: null,
      blockTokensPerSecond: null,
    },
    intent: "run",
    state: { kind: "connecting", reason: "looking for the network" },
    network: { url: "ws://127.0.0.1:9", connected: false, reason: "not connected yet" },
    workers: [],
    connection: { maxUploadMbps: null, maxDownloadMbps: null, onMetered: "pause" },
    metered: null,
    payoutAddress: null,
    hotkey: null,
  });
}
