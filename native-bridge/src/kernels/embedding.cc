#include "kernels.h"
#include "range.h"

#include <cstring>

namespace tah::TAH_ISA {

void embeddingForward(Context& context, float* out, const float* table, const int32_t* tokens, RowShape shape) {
  const size_t width = shape.width;
  forRows(context.pool, shape.rows, width, 1, [=](size_t row) {
    std::memcpy(out + row * width, table + size_t(tokens[row]) * width, width * sizeof(float));
  });
}

void embeddingBackward(Context& context, float* dTable, const float* dOut, const int32_t* tokens, RowShape shape) {
  const size_t width = shape.width;
  forColumns(context.pool, shape.rows, width, 2, [=](size_t begin, size_t end) {
    for (size_t row = 0; row < shape.rows; row++) {
      float* to = dTable + size_t(tokens[row]) * width;
      const float* from = dOut + row * width;
      for (size_t c = begin; c < end; c++) to[c] += from[c];
    }
  });
}

}  // namespace tah::TAH_ISA
