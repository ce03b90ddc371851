/** A folder that appears whole or not at all. */
import { chmod, mkdir, mkdtemp, readdir, rename, rm, rmdir, statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { FailureError, failureOf } from "../../protocol/failure.ts";

/**
 * `write` fills a draft beside `folder`, which then takes its place; whatever happens before leaves nothing behind. Rejects
 * with `FailureError`: invalid-option when there is something in `folder` already, disk-full when `neededBytes` are not free
 * or run out on the way, file-unreadable; and with what `write` rejects with.
 */
export async function createFolder(
  folder: string,
  neededBytes: number,
  write: (draft: string) => Promise<void>,
): Promise<void> {
  const target = resolve(folder);
  await mustBeEmpty(target);
  try {
    await mkdir(dirname(target), { recursive: true });
    await mustHaveRoom(dirname(target), neededBytes);
    const draft = await mkdtemp(`${target}.part-`);
    try {
      await write(draft);
      // Drafts are nobody else's; what becomes of them is a folder like others.
      await chmod(draft, 0o777 & ~process.umask());
      await rmdir(target).catch(unlessMissing);
      await rename(draft, target);
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      throw error;
    }
  } catch (error) {
    throw explained(target, error);
  }
}

async function mustBeEmpty(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw explained(folder, error);
  });
  if (names.length > 0)
    throw new FailureError("invalid-option", `There is something in ${folder} already.`, {
      action: "Name a folder that does not exist yet.",
    });
}

async function mustHaveRoom(folder: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= neededBytes) return;
  const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  throw new FailureError(
    "disk-full",
    `The files need ${mebibytes(neededBytes)}; ${mebibytes(bavail * bsize)} are free at ${folder}.`,
    { action: "Free some space, or name a folder on another disk." },
  );
}

function unlessMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

/** What the file system refuses is expected; everything else stays what it is. */
function explained(folder: string, error: unknown): unknown {
  if (failureOf(error) !== undefined || !(error instanceof Error) || !("syscall" in error)) return error;
  const isFull = "code" in error && error.code === "ENOSPC";
  return new FailureError(isFull ? "disk-full" : "file-unreadable", `${folder} cannot be written: ${error.message}`, {
    action: isFull ? "Free some space, or name a folder on another disk." : "Name a folder that this user may write.",
    cause: error,
  });
}
