/**
 * The runs of a network: one orchestrator each, over one store, one blob store and one workforce. Runs come and go while the
 * network lives; the gateway and the evaluator hear of it all as listeners.
 *
 * This folder may import `protocol`, `transport`, the store, the archive, the dataset builder and the orchestrator.
 */
import type { PresetName } from "../../compute/model/presets.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import type { Identity } from "../../protocol/identity.ts";
import { type MinerId, type RunId, runIdSchema } from "../../protocol/ids.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { CheckpointArchive } from "../checkpoints/archive.ts";
import { fallBackIfDamaged } from "../checkpoints/fall-back.ts";
import { openDataset } from "../dataset/prepare-dataset.ts";
import { accounts } from "../ledger/ledger.ts";
import { largestBlobBytes, type RunDefinition } from "../orchestrator/core/definition.ts";
import type { Effect } from "../orchestrator/core/event.ts";
import { Orchestrator } from "../orchestrator/orchestrator.ts";
import { prepareRun } from "../prepare-run.ts";
import { mustBeSameRun, type RunOptions } from "../run-options.ts";
import type { SignedReceipt, Store } from "../store/store.ts";
import { ServedRun } from "./served-run.ts";
import { Workforce } from "./workforce.ts";

export interface RunsOptions {
  readonly store: Store;
  readonly blobs: FileBlobStore;
  readonly archive: CheckpointArchive;
  readonly identity: Identity;
  readonly networkId: string;
  readonly clock: () => number;
  readonly log: (text: string) => void;
  /** Of one run, and with it of the network: see `OrchestratorOptions`. */
  readonly onFailed: (error: unknown) => void;
  readonly diskFullPauseMs?: number;
}

export interface RunsListener {
  /** To a miner of the run. */
  send(to: MinerId, message: GatewayMessage): void;
  receipt(receipt: SignedReceipt): void;
  assigned(minerId: MinerId, run: ServedRun | null): void;
  changed(run: ServedRun, effects: readonly Effect[]): void;
  /** The run cannot change at present, which its state does not know. */
  stoodStill(run: ServedRun, reason: string): void;
  /** Runs were created or deleted, or have another weight. */
  listed(): void;
}

const defaultWeight = 1;

export class Runs {
  readonly workforce: Workforce<ServedRun>;
  readonly #options: RunsOptions;
  readonly #runs = new Map<RunId, ServedRun>();
  readonly #listeners: Partial<RunsListener>[] = [];
  /** Ids of runs that are being created: their datasets are in the blob store before any run refers to them. */
  readonly #reserved = new Set<RunId>();

  private constructor(options: RunsOptions) {
    this.#options = options;
    this.workforce = new Workforce({
      runs: () => this.all,
      clock: options.clock,
      assigned: (minerId, run) => this.#tell((listener) => listener.assigned?.(minerId, run)),
    });
  }

  /** Takes up every run of the store. Rejects with `FailureError`: state-corrupt. */
  static async open(options: RunsOptions): Promise<Runs> {
    const { store } = options;
    const runs = new Runs(options);
    try {
      const weights = await store.weights();
      for (const runId of await store.runIds()) {
        const stored = await store.loadRun(runId);
        if (stored !== undefined) await runs.#serve(stored.snapshot.definition, weights.get(runId) ?? defaultWeight);
      }
      return runs;
    } catch (error) {
      await runs.close();
      throw error;
    }
  }

  /** In the order of their ids. */
  get all(): readonly ServedRun[] {
    return [...this.#runs.values()].sort((a, b) => (a.runId < b.runId ? -1 : 1));
  }

  find(runId: RunId): ServedRun | undefined {
    return this.#runs.get(runId);
  }

  /** Throws `FailureError` (not-found). */
  get(runId: RunId): ServedRun {
    const run = this.#runs.get(runId);
    if (run !== undefined) return run;
    throw new FailureError("not-found", `There is no run ${runId}.`, {
      action: "tah run list shows which runs there are.",
    });
  }

  listen(listener: Partial<RunsListener>): void {
    this.#listeners.push(listener);
  }

  /**
   * The run with these options: a new one, or the one that has the id already and is the same. Rejects with `FailureError`:
   * invalid-option, invalid-config, file-unreadable, dataset-invalid, disk-full.
   */
  async create(options: RunOptions, weight = defaultWeight): Promise<ServedRun> {
    const known = options.runId === undefined ? undefined : this.#runs.get(options.runId);
    if (known !== undefined) {
      mustBeSameRun(known.definition, options);
      return known;
    }
    const { store, log } = this.#options;
    const runId = await this.#reserve(options);
    try {
      log(`${runId}: preparing the dataset.`);
      const definition = await prepareRun({ ...options, runId }, this.#options);
      await store.setWeight(runId, weight);
      const run = await this.#serve(definition, weight);
      this.#listed();
      return run;
    } finally {
      this.#reserved.delete(runId);
    }
  }

  async reweight(run: ServedRun, weight: number): Promise<void> {
    await this.#options.store.setWeight(run.runId, weight);
    run.weight = weight;
    this.#listed();
  }

  /** Rejects with `FailureError` wrong-state while the run does not rest. */
  async delete(run: ServedRun): Promise<void> {
    const { runId, definition, weight } = run;
    if (!run.isAtRest)
      throw new FailureError("wrong-state", `The run ${runId} is ${run.state.phase.name}: it cannot be deleted.`, {
        action: `Pause it first, or stop it: tah run pause ${runId}.`,
        retry: true,
      });
    const { store, archive } = this.#options;
    this.#runs.delete(runId);
    await run.orchestrator.close();
    try {
      await archive.forgetRun(runId);
      await store.deleteRun(runId);
    } catch (error) {
      await this.#serve(definition, weight);
      throw error;
    } finally {
      this.workforce.dismiss(run);
    }
    this.#listed();
    // Twice, because what was used since the last collection is spared once.
    for (const _ of [1, 2]) await this.collectGarbage();
  }

  /** Deletes the blobs that neither a run nor a kept checkpoint refers to. */
  async collectGarbage(): Promise<void> {
    const { blobs, archive } = this.#options;
    if (this.#reserved.size === 0)
      await blobs.collect(new Set([...archive.blobs, ...this.all.flatMap((run) => run.blobs)]));
  }

  async close(): Promise<void> {
    this.workforce.close();
    await Promise.all(this.all.map((run) => run.orchestrator.close()));
  }

  /** Sees to it that no other run gets the id meanwhile. */
  async #reserve({ runId, preset }: RunOptions): Promise<RunId> {
    // Receipts name runs: the id of one that was deleted after it had credited miners stays taken.
    const balances = await this.#options.store.balances();
    const isTaken = (id: RunId) => this.#runs.has(id) || this.#reserved.has(id) || balances.has(accounts.issuance(id));
    if (runId !== undefined && isTaken(runId))
      throw new FailureError("invalid-option", `The id ${runId} is taken, or was a deleted run's.`, {
        action: "Choose another --id.",
      });
    const reserved = runId ?? firstFree(preset, isTaken);
    this.#reserved.add(reserved);
    return reserved;
  }

  /** Creates or takes up the run's orchestrator. */
  async #serve(definition: RunDefinition, weight: number): Promise<ServedRun> {
    const { blobs, archive } = this.#options;
    const manifest = await openDataset(definition, blobs);
    blobs.raiseLimit(largestBlobBytes(definition));
    const orchestrator = await Orchestrator.open({ ...this.#options, definition });
    const run = new ServedRun(orchestrator, manifest, weight);
    this.#runs.set(run.runId, run);
    await fallBackIfDamaged(orchestrator, blobs);
    await archive.record(run.state);
    for (const { minerId, ...abilities } of run.absent) this.workforce.expect(minerId, run, abilities);
    this.#listenTo(run);
    return run;
  }

  #listenTo(run: ServedRun): void {
    let phase = run.state.phase.name;
    let wasActive = run.isActive;
    run.orchestrator.listen({
      send: (to, message) => {
        // It may have been moved since.
        if (this.workforce.runOf(to) === run) this.#tell((listener) => listener.send?.(to, message));
      },
      receipt: (receipt) => this.#tell((listener) => listener.receipt?.(receipt)),
      stoodStill: (reason) => this.#tell((listener) => listener.stoodStill?.(run, reason)),
      changed: (_, effects) => {
        this.#tell((listener) => listener.changed?.(run, effects));
        if (run.state.phase.name === phase && run.isActive === wasActive) return;
        phase = run.state.phase.name;
        wasActive = run.isActive;
        this.workforce.reassign();
      },
    });
  }

  #listed(): void {
    this.#tell((listener) => listener.listed?.());
    this.workforce.reassign();
  }

  #tell(what: (listener: Partial<RunsListener>) => void): void {
    for (const listener of this.#listeners) what(listener);
  }
}

/** The preset's name, or the first of preset-2, preset-3 … that is free. */
function firstFree(preset: PresetName, isTaken: (runId: RunId) => boolean): RunId {
  for (let number = 1; ; number++) {
    const runId = runIdSchema.parse(number === 1 ? preset : `${preset}-${number}`);
    if (!isTaken(runId)) return runId;
  }
}
