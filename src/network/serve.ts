/**
 * A network in one process: store, runs, gateway and evaluator. `network` may import `compute`, `transport` and `protocol`;
 * who serves a network imports this file.
 */
import { mkdir } from "node:fs/promises";
import { totalmem } from "node:os";
import { join } from "node:path";
import type { OpenOptions } from "../compute/worker-protocol.ts";
import { FailureError, failureOf } from "../protocol/failure.ts";
import type { MinerId, RunId } from "../protocol/ids.ts";
import type { Checkpoint, Evaluation, RunUpdate } from "../protocol/run-view.ts";
import { FileBlobStore } from "../transport/blobs/file-blob-store.ts";
import { BootstrapNodes, type BootstrapOptions } from "../transport/direct/bootstrap-nodes.ts";
import { Admission, type AdmissionPolicy } from "./admission/admission.ts";
import { blobsFolder, CheckpointArchive } from "./checkpoints/archive.ts";
import type { RetentionPolicy } from "./checkpoints/retention.ts";
import { Gateway } from "./gateway/gateway.ts";
import type { FrameListener } from "./gateway/relay.ts";
import { certificateFragment, type TlsFiles } from "./gateway/tls-files.ts";
import { HotkeyRegister } from "./hotkeys.ts";
import { CsvPayout } from "./ledger/csv-payout.ts";
import type { Payment } from "./ledger/payout.ts";
import { settle } from "./ledger/settlement.ts";
import { networkIdentity } from "./network-identity.ts";
import type { RunState } from "./orchestrator/core/state.ts";
import { monotonicClock } from "./orchestrator/orchestrator.ts";
import { mustBeSameRun, type RunOptions, runIdOf } from "./run-options.ts";
import { Runs } from "./runs/runs.ts";
import type { ServedRun } from "./runs/served-run.ts";
import { EmbeddedStore } from "./store/embedded-store.ts";
import { type EvaluatedRun, Evaluator, type EvaluatorOptions } from "./validator/evaluator.ts";

export interface NetworkOptions {
  readonly host?: string;
  /** 0: any free one. */
  readonly port: number;
  /** Log, ledger, key and blobs; created when missing. */
  readonly stateFolder: string;
  /** Created at the first start, and found again at later ones; undefined: only those that are in the state folder. */
  readonly run?: RunOptions;
  readonly log: (text: string) => void;
  /** What is asked of miners that the network does not know; by default nothing. */
  readonly admission?: AdmissionPolicy;
  /** PEM files to serve `wss://` with; null or undefined: `ws://`. */
  readonly tls?: TlsFiles | null;
  /** Whether a proxy on this computer passes all connections on and names their addresses in `X-Forwarded-For`. */
  readonly behindProxy?: boolean;
  /** Connections that one address may have open. */
  readonly connectionsPerAddress?: number;
  /** Lets miners reach each other directly; undefined: they do not. */
  readonly direct?: BootstrapOptions | undefined;
  /** Keys that may create, steer and delete runs over the wire; none: nobody may. */
  readonly owners?: readonly MinerId[];
  /** Null: checkpoints are not evaluated. */
  readonly evaluator?: Partial<EvaluatorSettings> | null;
  /** Which checkpoints are kept beside those that runs go on from. */
  readonly retention?: Partial<RetentionPolicy>;
  /** Everything that is broadcast of a run. */
  readonly onRunUpdate?: (update: RunUpdate) => void;
  /** Every frame that is passed on between miners, with its bytes. */
  readonly onFrame?: FrameListener;
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
  /** ws:// or wss:// address of the gateway. */
  readonly url: string;
  readonly port: number;
  /**
   * What belongs behind the address (`network-address.ts`): without TLS the network's key, with it the fingerprint of a certificate that
   * no authority has signed, or nothing.
   */
  readonly fragment: string;
  readonly networkId: string;
  /** Of each run. */
  readonly states: ReadonlyMap<RunId, RunState>;
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
 * Takes up the state folder's runs where they were, and creates the one that is asked for where there is none. Rejects with
 * `FailureError`: port-in-use, invalid-option, invalid-config, file-unreadable, dataset-invalid, state-corrupt, disk-full.
 */
export async function serveNetwork(options: NetworkOptions): Promise<RunningNetwork> {
  const { stateFolder, log, host = defaultHost, onFailed = fail } = options;
  await mkdir(stateFolder, { recursive: true, mode: 0o700 });
  const identity = networkIdentity(stateFolder);
  const networkId = identity.minerId;
  const clock = monotonicClock();
  const ends: (() => Promise<void>)[] = [];
  /** The last first: what was opened later uses what was opened before. */
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const store = await EmbeddedStore.open(join(stateFolder, "network.sqlite"));
    ends.push(() => store.close());
    const blobs = await FileBlobStore.open({
      folder: blobsFolder(stateFolder),
      maxBlobBytes: smallestBlobLimitBytes,
    });
    const archive = await CheckpointArchive.open({ stateFolder, blobs, policy: options.retention, log });
    ends.push(() => archive.settled());
    const runs = await Runs.open({ store, blobs, archive, identity, networkId, clock, log, onFailed });
    ends.push(() => runs.close());
    if (options.run !== undefined) await findOrCreate(runs, options.run);

    const evaluator = createEvaluator(options, blobs);
    ends.push(async () => evaluator?.close());
    const evaluate = (run: ServedRun, checkpoint: Checkpoint) => {
      const noteWorth = (evaluation: Evaluation) => archive.noteEvaluation(run.runId, evaluation).catch(onFailed);
      evaluator?.evaluate(evaluated(run, noteWorth), checkpoint);
    };
    /** After a start, and when a run was created that goes on with a model. What is measured twice counts once. */
    const evaluateUnmeasured = () => {
      for (const run of runs.all) {
        const { checkpoint, evaluations } = run.state;
        if (checkpoint !== null && evaluations.at(-1)?.epoch !== checkpoint.epoch) evaluate(run, checkpoint);
      }
    };
    const keep = async (state: RunState) => {
      await archive.record(state);
      await runs.collectGarbage();
    };
    runs.listen({
      changed: (run, effects) => {
        for (const effect of effects) {
          if (effect.type !== "checkpoint-recorded") continue;
          evaluate(run, effect.checkpoint);
          keep(run.state).catch(onFailed);
        }
      },
      listed: evaluateUnmeasured,
    });
    evaluateUnmeasured();

    const owners = new Set(options.owners);
    const policy = options.admission ?? { kind: "open" };
    const admission = new Admission({ policy, networkId, stateFolder, owners, clock, log });
    ends.splice(1, 0, async () => admission.close());
    const hasReceipts = (minerId: MinerId) =>
      store.hasReceipts(minerId).catch((error: unknown) => {
        onFailed(error);
        return false;
      });
    const hotkeys = new HotkeyRegister({ stateFolder, networkId, hasReceipts, clock, log });
    const nodes = options.direct && (await BootstrapNodes.open(options.direct));
    ends.push(async () => nodes?.close());
    const { port, tls = null, behindProxy, connectionsPerAddress, onRunUpdate, onFrame } = options;
    const gateway = await Gateway.listen({
      host,
      port,
      tls,
      behindProxy: behindProxy ?? false,
      limits: connectionsPerAddress === undefined ? {} : { connectionsPerAddress },
      identity,
      runs,
      blobs,
      owners,
      admission,
      bootstrap: nodes?.addresses ?? [],
      clock,
      log,
      onRunUpdate,
      onFrame,
      onHotkey: (minerId, proof) => hotkeys.take(minerId, proof),
      onPayoutAddress: (minerId, address) => {
        store.setPayoutAddress(minerId, address).catch((error: unknown) => {
          const failure = failureOf(error);
          // The miner says it again, and the network stands still already.
          if (failure?.code === "disk-full") log(`a payout address was not kept: ${failure.message}`);
          else onFailed(error);
        });
      },
    });
    // Clients hear of it once there is nothing more to say to them.
    ends.splice(1, 0, () => gateway.close());

    return {
      url: `${tls === null ? "ws" : "wss"}://${host.includes(":") ? `[${host}]` : host}:${gateway.port}`,
      port: gateway.port,
      fragment: tls === null ? `#network=${networkId}` : certificateFragment(tls),
      networkId,
      get states() {
        return new Map(runs.all.map(({ runId, state }) => [runId, state]));
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
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What is asked for at every start is the same run each time, but for its target. */
async function findOrCreate(runs: Runs, options: RunOptions): Promise<void> {
  const known = runs.find(runIdOf(options));
  if (known !== undefined) {
    mustBeSameRun(known.definition, options);
    const targetTokens = options.tokens ?? null;
    if (known.definition.targetTokens !== targetTokens) known.orchestrator.submit({ type: "retargeted", targetTokens });
    await known.orchestrator.settled();
  } else if (runs.all.length === 0) await runs.create({ ...options, runId: runIdOf(options) });
  else
    throw new FailureError(
      "invalid-option",
      `This state folder holds other runs: ${runs.all.map(({ runId }) => runId).join(", ")}.`,
      {
        action: "Serve them without --preset and create the new one by tah run create, or use another --state folder.",
      },
    );
}

function createEvaluator(options: NetworkOptions, blobs: EvaluatorOptions["blobs"]): Evaluator | null {
  if (options.evaluator === null) return null;
  return new Evaluator({ ...defaultEvaluator, ...options.evaluator, blobs, log: options.log });
}

function evaluated(
  { runId, definition, manifest, orchestrator }: ServedRun,
  noteWorth: (evaluation: Evaluation) => void,
): EvaluatedRun {
  return {
    runId,
    definition,
    manifest,
    onEvaluation: (evaluation) => {
      orchestrator.submit({ type: "evaluated", evaluation });
      noteWorth(evaluation);
    },
    onNote: (level, text) => orchestrator.submit({ type: "noted", level, text }),
  };
}

function fail(error: unknown): never {
  throw error;
}
