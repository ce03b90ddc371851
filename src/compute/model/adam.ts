/** AdamW and NAdam as coefficients of the `adam` kernel. */
import { assertNever } from "../../protocol/assert-never.ts";
import type { AdamOptions } from "../kernels.ts";
import type { StageSpec, TrainingConfig } from "./config.ts";
import { learningRateAt } from "./learning-rate.ts";

/** One optimizer step of a stage, for weights that decay. `step` is 1 for the first. */
export function adamOptions(
  training: TrainingConfig,
  stage: StageSpec,
  step: number,
): Omit<AdamOptions, "gradientScale"> {
  const { beta2, epsilon, weightDecay } = training;
  const learningRate = learningRateAt(training, step);
  const beta1 = stageBeta1(training, stage);
  const rootScale = 1 / Math.sqrt(1 - beta2 ** step);
  const shared = { beta1, beta2, rootScale, epsilon, decayRate: learningRate * weightDecay };
  const gradientCorrection = 1 / (1 - beta1 ** step);
  switch (training.optimizer) {
    // Loshchilov & Hutter 2019, alg. 2.
    case "adamw":
      return { ...shared, momentRate: learningRate * gradientCorrection, gradientRate: 0 };
    // Dozat 2016, alg. 2 with one β1 for all steps: the moment that the next step would use, without waiting for it.
    case "nadam":
      return {
        ...shared,
        momentRate: (learningRate * beta1) / (1 - beta1 ** (step + 1)),
        gradientRate: learningRate * (1 - beta1) * gradientCorrection,
      };
    default:
      return assertNever(training.optimizer);
  }
}

/**
 * NAdam's β1 grows towards the first stage, where gradients wait longest for their weights to be stepped:
 * β1 + 0.9 · (1 − β1) · (L − 1 − l) / L at stage l of L, which from 0.9 is the 0.9 + 0.09 · (L − 1 − l) / L of IOTA.
 */
function stageBeta1({ optimizer, beta1 }: TrainingConfig, { index, count }: StageSpec): number {
  return optimizer === "nadam" ? beta1 + (0.9 * (1 - beta1) * (count - 1 - index)) / count : beta1;
}
