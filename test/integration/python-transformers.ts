/**
 * Python with torch and transformers, where there is one: what `PYTHON` names, else `python3` on the PATH. Without it the checks
 * are skipped and say so; with `REQUIRE_TRANSFORMERS=1` its lack is a failure.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const python = process.env.PYTHON ?? "python3";
const script = fileURLToPath(new URL("./transformers_loss.py", import.meta.url));

const answerSchema = z.object({
  lossSumNats: z.number(),
  logits: z.array(z.number()),
  ids: z.array(z.int()).nullable(),
  decoded: z.string().nullable(),
  version: z.string(),
});

export interface TransformersRequest {
  readonly folder: string;
  /** A configuration to make the model in `folder` of first; null: it is there. */
  readonly create: object | null;
  /** One array per sequence. */
  readonly tokens: readonly (readonly number[])[];
  readonly targets: readonly (readonly number[])[];
  /** To be turned into tokens and back; null where there is no tokenizer. */
  readonly text: string | null;
}

/** Undefined where they are there. */
export const skipReason = process.env.REQUIRE_TRANSFORMERS === "1" ? undefined : whatIsMissing();

/** For `it`: the name, with the reason where it is skipped. */
export const named = (name: string) => (skipReason === undefined ? name : `${name} (skipped: ${skipReason})`);

/** Loads the model in Python and runs it there. */
export function askTransformers(request: TransformersRequest) {
  const { status, stdout, stderr, error } = runPython([script], JSON.stringify(request));
  if (status !== 0) throw new Error(`${python} ${script} failed:\n${stderr}`, { cause: error });
  return answerSchema.parse(JSON.parse(stdout));
}

function whatIsMissing(): string | undefined {
  const { status, error } = runPython(["-c", "import torch, transformers"], "");
  if (error !== undefined) return `no ${python} on the PATH`;
  return status === 0 ? undefined : `${python} has no torch and transformers`;
}

function runPython(args: readonly string[], input: string) {
  const offline = { HF_HUB_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error" };
  // The logits of a large vocabulary are some megabytes of text.
  return spawnSync(python, args, { input, encoding: "utf8", maxBuffer: 2 ** 26, env: { ...process.env, ...offline } });
}
