/**
 * The checkpoints that a network keeps, of all its runs: their manifests as blobs, and an index in one small file, so that
 * other programs (`tah run export`) find them while the network has its database to itself.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../../disk/atomic-file.ts";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import { type BlobHash, type BlobRef, blobRefSchema, type RunId, runIdSchema } from "../../protocol/ids.ts";
import type { Checkpoint, Evaluation } from "../../protocol/run-view.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import { manifestBytes, manifestOf } from "./manifest.ts";
import { defaultRetention, type RetentionPolicy, retain } from "./retention.ts";

/** In the network's state folder. */
export const archiveFile = "checkpoints.json";

/** Where the network with this state folder keeps its blobs. */
export function blobsFolder(stateFolder: string): string {
  return join(stateFolder, "blobs");
}

const archivedCheckpointSchema = z.strictObject({
  runId: runIdSchema,
  /** Its hash names the checkpoint. */
  manifest: blobRefSchema,
  epoch: z.int().nonnegative(),
  tokens: z.int().nonnegative(),
  recordedAtMs: z.number(),
  /** Of the epoch that ended with it; null for a run's start. */
  trainLossNats: z.number().nullable(),
  /** Null until it is measured. */
  validationLossNats: z.number().nullable(),
  /** One per stage. */
  weights: z.array(blobRefSchema).readonly(),
  /** Null: forgotten, to save the room. */
  optimizer: z.array(blobRefSchema).readonly().nullable(),
});
export type ArchivedCheckpoint = Readonly<z.infer<typeof archivedCheckpointSchema>>;

const indexSchema = z.strictObject({
  version: z.literal(1),
  checkpoints: z.array(archivedCheckpointSchema).readonly(),
});

export interface ArchiveOptions {
  readonly stateFolder: string;
  readonly blobs: FileBlobStore;
  readonly policy?: Partial<RetentionPolicy>;
  readonly log: (text: string) => void;
}

/** Training does not wait for the archive: where the disk is full, it says so and has a gap. */
export class CheckpointArchive {
  readonly #options: ArchiveOptions;
  #checkpoints: readonly ArchivedCheckpoint[];
  #writing: Promise<void> = Promise.resolve();

  private constructor(options: ArchiveOptions, checkpoints: readonly ArchivedCheckpoint[]) {
    this.#options = options;
    this.#checkpoints = checkpoints;
  }

  /** Rejects with `FailureError`: state-corrupt. */
  static async open(options: ArchiveOptions): Promise<CheckpointArchive> {
    return new CheckpointArchive(options, await readArchive(options.stateFolder));
  }

  get stateFolder(): string {
    return this.#options.stateFolder;
  }

  /** What the kept checkpoints consist of. */
  get blobs(): readonly BlobHash[] {
    return this.#checkpoints.flatMap(({ manifest, weights, optimizer }) =>
      [manifest, ...weights, ...(optimizer ?? [])].map(({ hash }) => hash),
    );
  }

  /** Archives what the run starts its epoch from, unless that is done. A run that went back has left behind what came later. */
  record(state: RunState): Promise<void> {
    return this.#oneByOne(async () => {
      const { checkpoint, definition } = state;
      if (checkpoint === null) return;
      const isOwn = ({ runId }: ArchivedCheckpoint) => runId === definition.runId;
      const earlier = this.#checkpoints.filter((one) => !isOwn(one) || one.epoch < checkpoint.epoch);
      const known = this.#checkpoints.find((one) => isOwn(one) && isOf(one, checkpoint));
      if (known !== undefined && earlier.length === this.#checkpoints.length - 1) return;
      const parent = earlier.findLast(isOwn)?.manifest.hash ?? null;
      const manifest = manifestBytes(manifestOf(definition, checkpoint, parent));
      const added = known ?? archived(state, checkpoint, await this.#options.blobs.put(manifest));
      this.#write(this.#retained([...earlier, added]));
    });
  }

  /** Remembers what a checkpoint was found to be worth. */
  noteEvaluation(runId: RunId, { epoch, validationLossNats }: Evaluation): Promise<void> {
    return this.#oneByOne(async () =>
      this.#write(
        this.#checkpoints.map((one) =>
          one.runId === runId && one.epoch === epoch ? { ...one, validationLossNats } : one,
        ),
      ),
    );
  }

  /** Forgets all checkpoints of a run that was deleted. */
  forgetRun(runId: RunId): Promise<void> {
    return this.#oneByOne(async () => this.#write(this.#checkpoints.filter((one) => one.runId !== runId)));
  }

  /** Resolves when everything asked for so far is on disk. */
  settled(): Promise<void> {
    return this.#writing;
  }

  #retained(checkpoints: readonly ArchivedCheckpoint[]): readonly ArchivedCheckpoint[] {
    const runs = new Set(checkpoints.map(({ runId }) => runId));
    return [...runs].flatMap((run) =>
      retain(
        checkpoints.filter(({ runId }) => runId === run),
        { ...defaultRetention, ...this.#options.policy },
      ),
    );
  }

  #write(checkpoints: readonly ArchivedCheckpoint[]): void {
    const path = join(this.#options.stateFolder, archiveFile);
    writeFileAtomically(path, `${JSON.stringify({ version: 1, checkpoints })}\n`);
    this.#checkpoints = checkpoints;
  }

  #oneByOne(work: () => Promise<void>): Promise<void> {
    this.#writing = this.#writing.then(work).catch((error: unknown) => {
      if (!isDiskFull(error)) throw error;
      this.#options.log("The disk is full: a checkpoint could not be archived.");
    });
    return this.#writing;
  }
}

/** The checkpoints that the network with this state folder keeps, in order; none where there is no archive. Rejects with `FailureError`: state-corrupt. */
export async function readArchive(stateFolder: string): Promise<readonly ArchivedCheckpoint[]> {
  const path = join(stateFolder, archiveFile);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (text === null) return [];
  try {
    return indexSchema.parse(JSON.parse(text)).checkpoints;
  } catch (cause) {
    throw new FailureError("state-corrupt", `${path} is damaged.`, {
      action: "Remove it: older checkpoints are then forgotten, and the run goes on.",
      cause,
    });
  }
}

/** The newest with this name, or the newest of all. Throws `FailureError` (not-found). */
export function findCheckpoint(
  checkpoints: readonly ArchivedCheckpoint[],
  name: string | undefined,
): ArchivedCheckpoint {
  const found = checkpoints.findLast(({ manifest }) => name === undefined || manifest.hash.startsWith(name));
  if (found !== undefined) return found;
  throw new FailureError("not-found", `There is no checkpoint${name === undefined ? "" : ` ${name}`}.`, {
    action: "tah run checkpoints lists those that there are.",
  });
}

function isOf({ epoch, weights }: ArchivedCheckpoint, checkpoint: Checkpoint): boolean {
  return (
    epoch === checkpoint.epoch && weights.every(({ hash }, stage) => hash === checkpoint.stages[stage]?.weights.hash)
  );
}

function archived(state: RunState, { epoch, tokens, stages }: Checkpoint, manifest: BlobRef): ArchivedCheckpoint {
  const ended = state.epochs.findLast((record) => record.epoch === epoch - 1);
  return {
    runId: state.definition.runId,
    manifest,
    epoch,
    tokens,
    recordedAtMs: ended?.finishedAtMs ?? state.phaseSinceMs,
    trainLossNats: ended?.trainLossNats ?? null,
    validationLossNats: null,
    weights: stages.map(({ weights }) => weights),
    optimizer: stages.map(({ optimizer }) => optimizer),
  };
}

function isDiskFull(error: unknown): boolean {
  return (
    failureOf(error)?.code === "disk-full" || (error instanceof Error && "code" in error && error.code === "ENOSPC")
  );
}
