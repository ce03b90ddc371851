/** Where a demo network keeps its state: one folder per kind of run, so that the same command goes on where it stopped. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { presets } from "../../compute/model/presets.ts";
import { demosFolderName } from "../../miner/find-daemon.ts";
import { stateFolderPath } from "../../miner/store/state-folder.ts";
import { type RunOptions as NetworkRunOptions, trainingOf } from "../../network/run-options.ts";
import { stateVersion } from "../../network/store/state-version.ts";
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
  const path = join(state ?? stateFolderPath(), demosFolderName, demoFolderName(run));
  const prepare = () => {
    if (fresh) rmSync(path, { recursive: true, force: true });
  };
  return { path, prepare, dispose: () => undefined };
}

/**
 * Whatever makes it another run is in the name, what its preset says today and how its state is kept included: a version with
 * another preset or state starts another run instead of meeting one that it cannot go on with. How long the run goes on is not in it. Example: `demo-3x2-5f0c2a91`.
 */
export function demoFolderName(run: NetworkRunOptions & { readonly stages: number }): string {
  const { preset, stages, replicas, data, from } = run;
  const { model, tokenizer } = presets[preset];
  const training = trainingOf(run);
  const definition = JSON.stringify({
    stateVersion,
    model,
    tokenizer,
    training,
    data: data && resolve(data),
    from: from && resolve(from),
  });
  return `${preset}-${stages}x${replicas}-${createHash("sha256").update(definition).digest("hex").slice(0, 8)}`;
}
