#pragma once

#include <cstddef>
#include <vector>

namespace tah {

/** Cosines and sines of the rotary angles position · base^(−2c / headDim), computed once per position in double. */
class RotaryTable {
 public:
  /** Tables [positions, headDim / 2] that begin at some first position. */
  struct Rows {
    const float* cosines;
    const float* sines;
  };

  Rows rows(double base, size_t headDim, size_t firstPosition, size_t count);

 private:
  void extend(size_t positions);

  double base_ = 0;
  size_t headDim_ = 0;
  std::vector<float> cosines_;
  std::vector<float> sines_;
};

}  // namespace tah
