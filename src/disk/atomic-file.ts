/** Files that are either the old or the new version, never half of one, whenever the power goes. This folder imports `protocol` only. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { FailureError } from "../protocol/failure.ts";

/** Replaces `file` by `text`, readable by its owner only. Throws `FailureError` disk-full, file-unreadable. */
export function writeFileAtomically(file: string, text: string): void {
  const draft = `${file}.${process.pid}.new`;
  try {
    writeDurably(draft, "w", text);
    renameSync(draft, file);
    syncFolder(dirname(file));
  } catch (cause) {
    rmSync(draft, { force: true });
    throw fileFailure(`${file} cannot be written`, cause);
  }
}

/** Writes a file that its owner only can read, and waits for the disk. `wx` never writes over one. Throws as the file system does. */
export function writeDurably(file: string, flags: "w" | "wx", text: string): void {
  const descriptor = openSync(file, flags, 0o600);
  try {
    writeFileSync(descriptor, text); // not writeSync, which may write a part of it and call that a success
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** As `writeFileAtomically`, for bytes that are many: other work goes on meanwhile. One call at a time for one file. */
export async function writeBytesAtomically(file: string, pieces: readonly Uint8Array[]): Promise<void> {
  const draft = `${file}.${process.pid}.new`;
  try {
    const handle = await open(draft, "w", 0o600);
    try {
      for (const piece of pieces) await handle.writeFile(piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
    await syncFolderMeanwhile(dirname(file));
  } catch (cause) {
    await rm(draft, { force: true });
    throw fileFailure(`${file} cannot be written`, cause);
  }
}

/** The text of `file`, or null when there is none. Throws `FailureError` file-unreadable. */
export function readFileIfPresent(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return null;
    throw fileFailure(`${file} cannot be read`, cause);
  }
}

/** Throws `FailureError` (state-corrupt) when other users of this computer can read or write `file`, which holds a private key. */
export function refuseSharedFile(file: string): void {
  // Windows keeps rights in access lists, and the folder is the user's own.
  if (process.platform === "win32") return;
  const mode = statSync(file).mode & 0o777;
  if ((mode & 0o077) === 0) return;
  throw new FailureError("state-corrupt", `${file} can be read by others on this computer (mode ${mode.toString(8)})`, {
    action: `Make it yours alone: chmod 600 '${file}'.`,
  });
}

/** The rename itself must reach the disk. Windows cannot open folders, and does not need to. */
function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Likewise, while other work goes on. */
async function syncFolderMeanwhile(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  await handle.sync().finally(() => handle.close());
}

/** What the file system refused, as a failure that says what to do. */
export function fileFailure(what: string, cause: unknown): FailureError {
  const message = `${what}: ${cause instanceof Error ? cause.message : cause}`;
  if (codeOf(cause) === "ENOSPC")
    return new FailureError("disk-full", message, { action: "Free some disk space.", cause });
  const action = "Give this user the right to it, or choose another state folder with TAH_STATE.";
  return new FailureError("file-unreadable", message, { action, cause });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
