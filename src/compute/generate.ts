/** Text from a model: one token at a time, with a key-value cache. */
import type { Device } from "./kernels.ts";
import { headLogits } from "./model/head.ts";
import { rowsOf } from "./model/memory.ts";
import { embeddingOf, headOf, passOf, type Stage, stageForward } from "./model/stage.ts";
import type { StageActivations } from "./model/stage-memory.ts";
import { streamKey, uniform } from "./random.ts";

export interface GenerateOptions {
  readonly prompt: Int32Array;
  readonly count: number;
  /** 0 takes the likeliest token; 1 samples from the model's own distribution. */
  readonly temperature: number;
  readonly seed: number;
  /** Tokens of the same text that were drawn before; 0 when left out. A text written in pieces is then the same as one written at once. */
  readonly firstDraw?: number;
  /** Most tokens that the model looks back on. */
  readonly window: number;
}

/**
 * Continues `prompt` by `count` tokens on a stage that is the whole model. `kept` serves as the cache: the keys and values
 * of its blocks outlive each step. A full window is cut to its later half, which is read in again from position 0.
 */
export async function generateTokens(
  device: Device,
  stage: Stage,
  kept: StageActivations,
  { prompt, count, temperature, seed, firstDraw = 0, window }: GenerateOptions,
): Promise<Int32Array> {
  if (prompt.length === 0) throw new RangeError("a prompt has at least one token");
  const key = streamKey(seed, "generate");
  const generated = new Int32Array(count);
  let fresh = prompt.slice(-window);
  let cached = 0;
  let context: number[] = [...fresh];
  for (let i = 0; i < count; i++) {
    const logits = await nextLogits(device, stage, kept, fresh, cached);
    const token = choose(logits, temperature, uniform(key, 0, firstDraw + i));
    generated[i] = token;
    context.push(token);
    if (context.length <= window) {
      cached = context.length - 1;
      fresh = Int32Array.of(token);
    } else {
      context = context.slice(-Math.ceil(window / 2));
      cached = 0;
      fresh = Int32Array.from(context);
    }
  }
  return generated;
}

/** Logits of the token that follows `fresh`, given the `cached` tokens before it: [vocabulary]. */
async function nextLogits(
  device: Device,
  stage: Stage,
  kept: StageActivations,
  fresh: Int32Array,
  cached: number,
): Promise<Float32Array> {
  const { kernels, model } = stage;
  const pass = passOf(stage, kept, { sequences: 1, queries: fresh.length, keys: cached + fresh.length });
  device.uploadIndices(embeddingOf(pass).tokens, fresh);
  stageForward(stage, pass);
  const lastOutput = rowsOf(pass.output, model.width, fresh.length - 1, 1);
  return device.download(headLogits(kernels, model, headOf(pass), lastOutput));
}

/** Draws from softmax(logits / temperature) with `random` in [0, 1). */
function choose(logits: Float32Array, temperature: number, random: number): number {
  const highest = logits.reduce((a, b) => Math.max(a, b));
  if (temperature === 0) return logits.indexOf(highest);
  const weights = Array.from(logits, (logit) => Math.exp((logit - highest) / temperature));
  let rest = random * weights.reduce((a, b) => a + b);
  const chosen = weights.findIndex((weight) => {
    rest -= weight;
    return rest < 0;
  });
  return chosen === -1 ? logits.indexOf(highest) : chosen;
}
