#include "kernels.h"
#include "range.h"
#include "vector.h"

#include <cmath>

namespace tah::TAH_ISA {

void crossEntropy(Context& context, float* losses, float* logits, const int32_t* targets, RowShape shape,
                  float gradientScale) {
  const size_t width = shape.width;
  forRows(context.pool, shape.rows, width, 16, [=](size_t row) {
    float* logit = logits + row * width;
    const float targetLogit = logit[targets[row]];
    Vector tops = splat(-INFINITY);
    for (size_t c = 0; c < width; c += kLanes) tops = maximum(load(logit + c, width - c, -INFINITY), tops);
    const float top = highest(tops);
    Vector totals{};
    for (size_t c = 0; c < width; c += kLanes) {
      const Vector power = exponential(load(logit + c, width - c, -INFINITY) - top);
      totals += power;
      store(logit + c, power, width - c);
    }
    const float total = sum(totals);
    losses[row] = float(std::log(double(total)) + (double(top) - targetLogit));
    const float scale = gradientScale / total;
    for (size_t c = 0; c < width; c++) logit[c] *= scale;
    logit[targets[row]] -= gradientScale;
  });
}

}  // namespace tah::TAH_ISA
