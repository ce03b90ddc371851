/** Brings a file to the disk while other work goes on: a disk that has much to write takes more than a second for it. */
import { open } from "node:fs/promises";

/** Resolves when all that has been written to `file` is on the disk; nothing is left to do for one that is gone. */
export type SyncFile = (file: string) => Promise<void>;

export class BackgroundSync {
  readonly #file: string;
  readonly #syncFile: SyncFile;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  constructor(file: string, syncFile: SyncFile = syncOpened) {
    this.#file = file;
    this.#syncFile = syncFile;
  }

  /**
   * Resolves when what has been written until now is on the disk; rejects as the file system does. Calls that come while the disk is
   * busy share the next turn, since the one under way may have begun before they wrote.
   */
  sync(): Promise<void> {
    if (this.#running === null) return this.#start();
    this.#next ??= this.#running.catch(() => undefined).then(() => this.#start());
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = null;
    this.#running = this.#syncFile(this.#file).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }
}

async function syncOpened(file: string): Promise<void> {
  // For writing, or Windows does not flush it.
  const handle = await open(file, "r+").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  try {
    await handle?.sync();
  } finally {
    await handle?.close();
  }
}
