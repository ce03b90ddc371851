#include "kernels.h"
#include "range.h"

#include <cmath>

namespace tah::TAH_ISA {

/** Memory-bound: 28 bytes per parameter pass through once. */
void adam(Context& context, float* parameters, const float* gradients, float* firstMoment, float* secondMoment,
          size_t length, const AdamOptions& options) {
  const float gradientScale = float(options.gradientScale);
  const float beta1 = float(options.beta1), rest1 = float(1 - options.beta1);
  const float beta2 = float(options.beta2), rest2 = float(1 - options.beta2);
  const float momentRate = float(options.momentRate), gradientRate = float(options.gradientRate);
  const float rootScale = float(options.rootScale), epsilon = float(options.epsilon);
  const float decayRate = float(options.decayRate);
  forRanges(context.pool, length, 16, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      const float gradient = gradients[i] * gradientScale;
      const float mean = beta1 * firstMoment[i] + rest1 * gradient;
      const float variance = beta2 * secondMoment[i] + rest2 * gradient * gradient;
      firstMoment[i] = mean;
      secondMoment[i] = variance;
      const float direction = momentRate * mean + gradientRate * gradient;
      const float update = direction / (rootScale * std::sqrt(variance) + epsilon);
      parameters[i] -= update + decayRate * parameters[i];
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
