#include "kernels.h"
#include "range.h"
#include "vector.h"

#include <cmath>

namespace tah::TAH_ISA {

void rmsNormForward(Context& context, float* out, float* inverseRms, const float* x, const float* gain, RowShape shape,
                    double epsilon) {
  const size_t width = shape.width;
  forRows(context.pool, shape.rows, width, 4, [=](size_t row) {
    const float* from = x + row * width;
    float* to = out + row * width;
    Vector squares{};
    for (size_t c = 0; c < width; c += kLanes) {
      const Vector value = load(from + c, width - c);
      squares += value * value;
    }
    const float r = float(1 / std::sqrt(double(sum(squares)) / double(width) + epsilon));
    inverseRms[row] = r;
    for (size_t c = 0; c < width; c++) to[c] = from[c] * r * gain[c];
  });
}

/**
 * With n = x · r and dn = dOut · gain: dx = r · (dn − n · mean(dn · n)). dGain is a second pass, by columns, so that its
 * sum over the rows has a fixed order.
 */
void rmsNormBackward(Context& context, float* dx, float* dGain, const float* dOut, const float* x, const float* gain,
                     const float* inverseRms, RowShape shape) {
  const size_t width = shape.width;
  forRows(context.pool, shape.rows, width, 8, [=](size_t row) {
    const float* d = dOut + row * width;
    const float* from = x + row * width;
    float* to = dx + row * width;
    const float r = inverseRms[row];
    Vector products{};
    for (size_t c = 0; c < width; c += kLanes)
      products += load(d + c, width - c) * load(gain + c, width - c) * load(from + c, width - c);
    const float projection = sum(products) * r * r / float(width);
    for (size_t c = 0; c < width; c++) to[c] += r * (d[c] * gain[c] - from[c] * projection);
  });
  forColumns(context.pool, shape.rows, width, 4, [=](size_t begin, size_t end) {
    for (size_t row = 0; row < shape.rows; row++) {
      const float* d = dOut + row * width;
      const float* from = x + row * width;
      const float r = inverseRms[row];
      for (size_t c = begin; c < end; c++) dGain[c] += d[c] * from[c] * r;
    }
  });
}

}  // namespace tah::TAH_ISA
