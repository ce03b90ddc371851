#include "kernels.h"
#include "range.h"

#include <cmath>

namespace tah::TAH_ISA {

/** Loshchilov & Hutter 2019, alg. 2. Memory-bound: 28 bytes per parameter pass through once. */
void adamW(Context& context, float* parameters, const float* gradients, float* firstMoment, float* secondMoment,
           size_t length, const AdamWOptions& options) {
  const float gradientScale = float(options.gradientScale);
  const float beta1 = float(options.beta1), rest1 = float(1 - options.beta1);
  const float beta2 = float(options.beta2), rest2 = float(1 - options.beta2);
  const float rootCorrection = float(1 / std::sqrt(1 - std::pow(options.beta2, options.step)));
  const float stepSize = float(options.learningRate / (1 - std::pow(options.beta1, options.step)));
  const float decay = float(options.learningRate * options.weightDecay);
  const float epsilon = float(options.epsilon);
  forRanges(context.pool, length, 16, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      const float gradient = gradients[i] * gradientScale;
      const float mean = beta1 * firstMoment[i] + rest1 * gradient;
      const float variance = beta2 * secondMoment[i] + rest2 * gradient * gradient;
      firstMoment[i] = mean;
      secondMoment[i] = variance;
      const float update = stepSize * mean / (std::sqrt(variance) * rootCorrection + epsilon);
      parameters[i] -= update + decay * parameters[i];
    }
  });
}

void outerNesterov(Context& context, float* parameters, float* momentumBuffer, const float* pseudoGradient,
                   size_t length, const NesterovOptions& options) {
  const float learningRate = float(options.learningRate), momentum = float(options.momentum);
  forRanges(context.pool, length, 6, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      momentumBuffer[i] = momentum * momentumBuffer[i] + pseudoGradient[i];
      parameters[i] -= learningRate * (pseudoGradient[i] + momentum * momentumBuffer[i]);
    }
  });
}

}  // namespace tah::TAH_ISA
