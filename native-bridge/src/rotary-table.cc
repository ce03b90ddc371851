#include "rotary-table.h"

#include <cmath>

namespace tah {

RotaryTable::Rows RotaryTable::rows(double base, size_t headDim, size_t firstPosition, size_t count) {
  if (base != base_ || headDim != headDim_) {
    cosines_.clear();
    sines_.clear();
    base_ = base;
    headDim_ = headDim;
  }
  extend(firstPosition + count);
  const size_t first = firstPosition * (headDim / 2);
  return {cosines_.data() + first, sines_.data() + first};
}

void RotaryTable::extend(size_t positions) {
  const size_t half = headDim_ / 2;
  for (size_t position = cosines_.size() / half; position < positions; position++)
    for (size_t c = 0; c < half; c++) {
      const double angle = double(position) * std::pow(base_, -2.0 * double(c) / double(headDim_));
      cosines_.push_back(float(std::cos(angle)));
      sines_.push_back(float(std::sin(angle)));
    }
}

}  // namespace tah
