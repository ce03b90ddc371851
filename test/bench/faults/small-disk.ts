/** A disk that can be filled up without harm to anybody else: a file system in memory, mounted where it is wanted. */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const diskMegabytes = 768;
const fillerBytes = 1 << 20;

export class SmallDisk {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Why there can be none here; null when there can. */
  static impossibleBecause(): string | null {
    if (process.platform !== "linux") return "a small disk is mounted on Linux only";
    return process.getuid?.() === 0 ? null : "only root may mount a small disk";
  }

  /** Throws where mounting is forbidden, as in some containers. */
  static mount(path: string): SmallDisk {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${diskMegabytes}m,mode=700`, "tmpfs", path]);
    return new SmallDisk(path);
  }

  /** Leaves not a byte. */
  fill(): void {
    const file = openSync(this.#filler, "w");
    try {
      for (let bytes = fillerBytes; bytes >= 1; ) bytes = tryWrite(file, bytes) ? bytes : Math.floor(bytes / 2);
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  unmount(): void {
    execFileSync("umount", ["--lazy", this.#path]);
  }

  get #filler(): string {
    return join(this.#path, "filler");
  }
}

function tryWrite(file: number, bytes: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(bytes)) === bytes;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOSPC") return false;
    throw error;
  }
}
