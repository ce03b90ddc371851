#include "kernels.h"
#include "range.h"

namespace tah::TAH_ISA {

/** `cosines` and `sines` are [sequence, headDim / 2]: the angles' tables from the first row's position on. */
void rotary(Context& context, float* x, const float* cosines, const float* sines, const RotaryShape& shape) {
  const size_t half = shape.headDim / 2;
  const size_t width = shape.heads * shape.headDim;
  const float direction = shape.inverse ? -1.f : 1.f;
  forRows(context.pool, shape.batch * shape.sequence, width, 4, [&](size_t row) {
    const float* cosine = cosines + row % shape.sequence * half;
    const float* sine = sines + row % shape.sequence * half;
    for (size_t head = 0; head < shape.heads; head++) {
      float* low = x + row * width + head * shape.headDim;
      float* high = low + half;
      for (size_t c = 0; c < half; c++) {
        const float a = low[c], b = high[c], turn = direction * sine[c];
        low[c] = a * cosine[c] - b * turn;
        high[c] = b * cosine[c] + a * turn;
      }
    }
  });
}

}  // namespace tah::TAH_ISA
