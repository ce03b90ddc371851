import type { AdamOptions, Slice } from "../../kernels.ts";
import { accumulate, at, reals } from "./memory.ts";

export function adam(
  parametersSlice: Slice,
  gradientsSlice: Slice,
  firstMomentSlice: Slice,
  secondMomentSlice: Slice,
  { gradientScale, beta1, beta2, momentRate, gradientRate, rootScale, epsilon, decayRate }: AdamOptions,
): void {
  const [parameters, gradients] = [reals(parametersSlice), reals(gradientsSlice)];
  const [first, second] = [reals(firstMomentSlice), reals(secondMomentSlice)];
  for (let i = 0; i < parameters.length; i++) {
    const gradient = gradientScale * at(gradients, i);
    const mean = beta1 * at(first, i) + (1 - beta1) * gradient;
    const variance = beta2 * at(second, i) + (1 - beta2) * gradient ** 2;
    first[i] = mean;
    second[i] = variance;
    const update = (momentRate * mean + gradientRate * gradient) / (rootScale * Math.sqrt(variance) + epsilon);
    accumulate(parameters, i, -(update + decayRate * at(parameters, i)));
  }
}

export function outerNesterov(
  parametersSlice: Slice,
  momentumSlice: Slice,
  gradientSlice: Slice,
  { learningRate, momentum }: { readonly learningRate: number; readonly momentum: number },
): void {
  const [parameters, velocity, gradient] = [reals(parametersSlice), reals(momentumSlice), reals(gradientSlice)];
  for (let i = 0; i < parameters.length; i++) {
    velocity[i] = momentum * at(velocity, i) + at(gradient, i);
    accumulate(parameters, i, -learningRate * (at(gradient, i) + momentum * at(velocity, i)));
  }
}
