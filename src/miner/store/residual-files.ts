/**
 * What was rounded away of contributions to merges, on disk while no compute worker holds it: one file per stage of a run, a line of JSON
 * with the payload behind it. Those that were not written for longest go when there are too many.
 */
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { fileFailure, writeBytesAtomically } from "../../disk/atomic-file.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { blobHashSchema, runIdSchema } from "../../protocol/ids.ts";
import type { ResidualOf, ResidualStore } from "../merge/error-feedback-keeper.ts";

const headerSchema = z.strictObject({
  format: z.literal("train-at-home error feedback 1"),
  runId: runIdSchema,
  stage: z.int().nonnegative(),
  /** Of the stage. */
  parameters: z.int().positive(),
  /** That it was left over from. */
  epoch: z.int().nonnegative(),
  /** Of the payload. */
  hash: blobHashSchema,
});

const lineEnd = 0x0a;
const ownFile = /^[a-z0-9-]+\.bin$/;

export class ResidualFiles implements ResidualStore {
  readonly #folder: string;
  readonly #maxBytes: number;

  /** `folder` is created when it is first needed. */
  constructor(folder: string, maxBytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  async read(of: ResidualOf): Promise<Uint8Array | "none" | "damaged"> {
    const bytes = await readFile(this.#path(of)).catch((cause) => {
      if (isMissing(cause)) return null;
      throw fileFailure(`${this.#path(of)} cannot be read`, cause);
    });
    if (bytes === null) return "none";
    const headerBytes = bytes.indexOf(lineEnd);
    const header = headerSchema.safeParse(parsed(bytes.toString("utf8", 0, Math.max(0, headerBytes)))).data;
    if (header === undefined || header.runId !== of.runId || header.stage !== of.stage) return "damaged";
    if (header.parameters !== of.parameters) return "damaged";
    const payload = bytes.subarray(headerBytes + 1);
    return hashBytes(payload) === header.hash ? payload : "damaged";
  }

  async write({ runId, stage, parameters }: ResidualOf, epoch: number, payload: Uint8Array): Promise<void> {
    const file = this.#path({ runId, stage, parameters });
    const format = "train-at-home error feedback 1" as const;
    const header: z.infer<typeof headerSchema> = { format, runId, stage, parameters, epoch, hash: hashBytes(payload) };
    await mkdir(this.#folder, { recursive: true, mode: 0o700 }).catch((cause) => {
      throw fileFailure(`the folder ${this.#folder} cannot be made`, cause);
    });
    await writeBytesAtomically(file, [Buffer.from(`${JSON.stringify(header)}\n`), payload]);
    await this.#forgetOldest(file);
  }

  async #forgetOldest(newest: string): Promise<void> {
    const paths = (await readdir(this.#folder))
      .filter((name) => ownFile.test(name))
      .map((name) => join(this.#folder, name));
    const files = await Promise.all(paths.map(async (path) => ({ path, info: await stat(path) })));
    let totalBytes = files.reduce((sum, { info }) => sum + info.size, 0);
    for (const { path, info } of files.toSorted((a, b) => a.info.mtimeMs - b.info.mtimeMs)) {
      if (totalBytes <= this.#maxBytes) return;
      if (path === newest) continue;
      await rm(path, { force: true });
      totalBytes -= info.size;
    }
  }

  #path({ runId, stage }: ResidualOf): string {
    return join(this.#folder, `${runId}-${stage}.bin`);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // damaged, as the schema will say
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
