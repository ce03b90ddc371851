/** Where a demo network keeps its state: one folder per kind of run, so that the same command goes on where it stopped. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { demosFolderName } from "../../miner/find-daemon.ts";
import { stateFolderPath } from "../../miner/store/state-folder.ts";
import type { RunOptions } from "../run-options.ts";

export interface DemoFolder {
  readonly path: string;
  /** Empties it where the person wants to start anew. Not while a network runs there. */
  prepare(): void;
  /** Removes what was made for this one command only. */
  dispose(): void;
}

export interface DemoFolderOptions {
  /** As the person named it. */
  readonly state: string | undefined;
  readonly fresh: boolean;
  /** A script's demo: repeated ones must neither meet nor continue each other. */
  readonly temporary: boolean;
  readonly run: RunOptions & { readonly stages: number };
}

export function openDemoFolder({ state, fresh, temporary, run }: DemoFolderOptions): DemoFolder {
  if (temporary && state === undefined) {
    const path = mkdtempSync(join(tmpdir(), "train-at-home-demo-"));
    return { path, prepare: () => undefined, dispose: () => rmSync(path, { recursive: true, force: true }) };
  }
  const path = join(state ?? stateFolderPath(), demosFolderName, nameOf(run));
  const prepare = () => {
    if (fresh) rmSync(path, { recursive: true, force: true });
  };
  return { path, prepare, dispose: () => undefined };
}

/** Whatever makes it another run is in the name: `demo-3x2`, `demo-3x2-5f0c2a91`. How long it goes on does not. */
function nameOf({ preset, stages, replicas, data, seed, mode }: DemoFolderOptions["run"]): string {
  const special = { data: data && resolve(data), seed, mode };
  const plain = Object.values(special).every((value) => value === undefined);
  const suffix = plain ? "" : `-${createHash("sha256").update(JSON.stringify(special)).digest("hex").slice(0, 8)}`;
  return `${preset}-${stages}x${replicas}${suffix}`;
}
