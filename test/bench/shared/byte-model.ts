/** The model that benchmarks of losses train on bytes: the demo's, in any width. */
import type { ModelConfig } from "../../../src/compute/model/config.ts";
import { presets } from "../../../src/compute/model/presets.ts";

const headWidth = 64;
/** Feed-forward layers are a multiple of so many channels wide. */
const feedForwardUnit = 32;

export function byteModel({ width, layers, context }: Pick<ModelConfig, "width" | "layers" | "context">): ModelConfig {
  const heads = Math.max(1, Math.round(width / headWidth));
  return {
    ...presets.demo.model,
    vocabulary: 256,
    width,
    layers,
    heads,
    keyValueHeads: heads,
    /** ⅔ · 4 · width. */
    feedForward: feedForwardUnit * Math.ceil((8 * width) / 3 / feedForwardUnit),
    context,
  };
}
