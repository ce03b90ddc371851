/**
 * A network in one process: store, orchestrator, gateway and evaluator around one run. `network` may import `compute`,
 * `transport` and `protocol`; who serves a network imports this file.
 */
import { mkdir } from "node:fs/promises";
import { totalmem } from "node:os";
import { join } from "node:path";
import type { Manifest } from "../compute/data/manifest.ts";
import type { OpenOptions } from "../compute/worker-protocol.ts";
import { FailureError } from "../protocol/failure.ts";
import type { BlobHash, MinerId } from "../protocol/ids.ts";
import type { Checkpoint, Evaluation, RunUpdate } from "../protocol/run-view.ts";
import { FileBlobStore } from "../transport/blobs/file-blob-store.ts";
import { blobsFolder, CheckpointArchive } from "./checkpoints/archive.ts";
import { fallBackIfDamaged } from "./checkpoints/fall-back.ts";
import type { RetentionPolicy } from "./checkpoints/retention.ts";
import { datasetBlobs, readManifest } from "./dataset/prepare-dataset.ts";
import { Gateway } from "./gateway/gateway.ts";
import { CsvPayout } from "./ledger/csv-payout.ts";
import type { Payment } from "./ledger/payout.ts";
import { settle } from "./ledger/settlement.ts";
import { networkIdentity } from "./network-identity.ts";
import { largestBlobBytes, type RunDefinition } from "./orchestrator/core/definition.ts";
import type { RunState } from "./orchestrator/core/state.ts";
import { monotonicClock, Orchestrator } from "./orchestrator/orchestrator.ts";
import { prepareRun } from "./prepare-run.ts";
import { mustBeSameRun, type RunOptions } from "./run-options.ts";
import { EmbeddedStore } from "./store/embedded-store.ts";
import type { Store } from "./store/store.ts";
import { Evaluator } from "./validator/evaluator.ts";

export interface NetworkOptions extends RunOptions {
  readonly host?: string;
  /** 0: any free one. */
  readonly port: number;
  /** Log, ledger, key and blobs; created when missing. */
  readonly stateFolder: string;
  readonly log: (text: string) => void;
  /** Keys that may steer the run over the wire; none: nobody may. */
  readonly owners?: readonly MinerId[];
  /** Null: checkpoints are not evaluated. */
  readonly evaluator?: Partial<EvaluatorSettings> | null;
  /** Which checkpoints are kept beside those that the run goes on from. */
  readonly retention?: Partial<RetentionPolicy>;
  /** Everything that is broadcast. */
  readonly onRunUpdate?: (update: RunUpdate) => void;
  /** The network cannot go on. By default the process ends by an unhandled error, for a supervisor to start it again. */
  readonly onFailed?: (error: unknown) => void;
}

export interface EvaluatorSettings {
  readonly backend: OpenOptions["backend"];
  readonly sequences: number;
  readonly sampleTokens: number;
  readonly prompt: string;
  readonly memoryLimitBytes: number;
}

export interface RunningNetwork {
  /** ws:// address of the gateway. */
  readonly url: string;
  readonly port: number;
  readonly networkId: string;
  readonly state: RunState;
  /** Of the evaluator's compute worker, while there is one. */
  readonly evaluatorPid: number | undefined;
  /** Pays out what may be paid, as a CSV file in the state folder; the same id pays once. */
  settle(settlementId: string, minimumMicroCredits: number): Promise<readonly Payment[]>;
  /** Flushes everything, tells the clients and ends. */
  close(): Promise<void>;
}

const defaultHost = "127.0.0.1";
const defaultEvaluator: EvaluatorSettings = {
  backend: "native",
  sequences: 16,
  sampleTokens: 160,
  prompt: "Call me Ishmael. ",
  memoryLimitBytes: totalmem() / 4,
};
/** Small models have small states; dataset shards have up to 4 MiB. */
const smallestBlobLimitBytes = 16 << 20;

/**
 * Creates the run at the first start, and takes it up where it was at later ones. Rejects with `FailureError`: port-in-use,
 * invalid-option, invalid-config, file-unreadable, dataset-invalid, state-corrupt, disk-full.
 */
export async function serveNetwork(options: NetworkOptions): Promise<RunningNetwork> {
  const { stateFolder, log } = options;
  await mkdir(stateFolder, { recursive: true, mode: 0o700 });
  const identity = networkIdentity(join(stateFolder, "network-key.pem"));
  const networkId = identity.minerId;
  const store = await EmbeddedStore.open(join(stateFolder, "network.sqlite"));
  try {
    const blobs = await FileBlobStore.open({
      folder: blobsFolder(stateFolder),
      maxBlobBytes: smallestBlobLimitBytes,
    });
    const { definition, manifest } = await findOrDefineRun(options, store, blobs);
    const clock = monotonicClock();
    const onFailed = options.onFailed ?? fail;
    const orchestrator = await Orchestrator.open({ store, identity, networkId, definition, clock, log, onFailed });
    await fallBackIfDamaged(orchestrator, blobs);
    const targetTokens = options.tokens ?? null;
    if (orchestrator.state.definition.targetTokens !== targetTokens)
      orchestrator.submit({ type: "retargeted", targetTokens });
    await orchestrator.settled();

    const archive = await CheckpointArchive.open({ stateFolder, blobs, policy: options.retention, log });
    await archive.record(orchestrator.state);
    const evaluator = createEvaluator(options, definition, manifest, blobs, orchestrator, (evaluation) =>
      archive.noteEvaluation(definition.runId, evaluation).catch(onFailed),
    );
    const dataset = datasetBlobs(definition.dataset.manifest, manifest);
    const keepCheckpoint = async (state: RunState) => {
      await archive.record(state);
      await blobs.collect(new Set([...dataset, ...archive.blobs, ...blobsOf(orchestrator.state)]));
    };
    orchestrator.listen({
      changed: (state, effects) => {
        for (const effect of effects) {
          if (effect.type !== "checkpoint-recorded") continue;
          evaluator?.evaluate(effect.checkpoint);
          keepCheckpoint(state).catch(onFailed);
        }
      },
    });
    const { checkpoint, evaluations } = orchestrator.state;
    if (checkpoint !== null && evaluations.at(-1)?.epoch !== checkpoint.epoch) evaluator?.evaluate(checkpoint);

    const host = options.host ?? defaultHost;
    const close = async () => {
      await evaluator?.close();
      await orchestrator.close();
    };
    const gateway = await Gateway.listen({
      host,
      port: options.port,
      networkId,
      orchestrator,
      blobs,
      owners: new Set(options.owners),
      clock,
      log,
      onRunUpdate: options.onRunUpdate,
    }).catch(async (error: unknown) => {
      await close();
      throw error;
    });

    return {
      url: `ws://${host.includes(":") ? `[${host}]` : host}:${gateway.port}`,
      port: gateway.port,
      networkId,
      get state() {
        return orchestrator.state;
      },
      get evaluatorPid() {
        return evaluator?.pid;
      },
      settle: (settlementId, minimumMicroCredits) =>
        settle(store, new CsvPayout(join(stateFolder, "payouts")), {
          settlementId,
          minimumMicroCredits,
          atMs: clock(),
        }),
      async close() {
        await close();
        await gateway.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function findOrDefineRun(
  options: NetworkOptions,
  store: Store,
  blobs: FileBlobStore,
): Promise<{ definition: RunDefinition; manifest: Manifest }> {
  const [runId] = await store.runIds();
  const stored = runId === undefined ? undefined : await store.loadRun(runId);
  if (stored === undefined) options.log("Preparing the dataset.");
  const definition = stored?.snapshot.definition ?? (await prepareRun(options, blobs));
  if (stored !== undefined) mustBeSameRun(definition, options);
  blobs.raiseLimit(largestBlobBytes(definition));
  const manifest = await readManifest(definition.dataset.manifest, blobs);
  const missing = datasetBlobs(definition.dataset.manifest, manifest).some((hash) => blobs.bytesOf(hash) === undefined);
  if (missing)
    throw new FailureError("state-corrupt", "Parts of the run's dataset are missing from its state folder.", {
      action: "Begin anew in another state folder.",
    });
  return { definition, manifest };
}

function createEvaluator(
  options: NetworkOptions,
  definition: RunDefinition,
  manifest: Manifest,
  blobs: FileBlobStore,
  orchestrator: Orchestrator,
  onEvaluation: (evaluation: Evaluation) => void,
): Evaluator | null {
  if (options.evaluator === null) return null;
  return new Evaluator({
    ...defaultEvaluator,
    ...options.evaluator,
    definition,
    manifest,
    blobs,
    log: options.log,
    onEvaluation: (evaluation) => {
      orchestrator.submit({ type: "evaluated", evaluation });
      onEvaluation(evaluation);
    },
    onNote: (level, text) => orchestrator.submit({ type: "noted", level, text }),
  });
}

/** What a run refers to: its last two checkpoints, and what has been contributed to the epoch that is being merged. */
function blobsOf(state: RunState): readonly BlobHash[] {
  const ofCheckpoint = (checkpoint: Checkpoint | null) =>
    checkpoint?.stages.flatMap(({ weights, optimizer }) => [weights.hash, optimizer.hash]) ?? [];
  const contributions = "contributions" in state.phase ? state.phase.contributions : [];
  return [
    ...ofCheckpoint(state.checkpoint),
    ...ofCheckpoint(state.previousCheckpoint),
    ...contributions.map(({ blob }) => blob.hash),
  ];
}

function fail(error: unknown): never {
  throw error;
}
