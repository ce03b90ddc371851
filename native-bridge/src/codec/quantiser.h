#pragma once

// `src/compute/codec/portable/quantiser.ts`: the same sums, many at a time. Rows lie in scratch memory with zeros behind
// them up to a multiple of kSumLanes. Where it may be, loops are left to the compiler, which vectorises them.

#include <cmath>

#include "../kernels/vector.h"
#include "codec.h"
#include "noise.h"

namespace tah::TAH_ISA {

constexpr float kWholeMagic = 12582912.f;   // 1.5 · 2^23
constexpr float kFractionMagic = 768.f;     // 1.5 · 2^(23 − kDitherBits)
constexpr int32_t kHalfStep = 1 << (kDitherBits - 1);

/** Ascending magnitudes of a code's levels, and the thresholds between them: Max 1960, table I. */
template <unsigned bits>
struct Levels;
template <>
struct Levels<1> {
  static constexpr unsigned half = 1;
  static constexpr float magnitudes[] = {0.798f};
  static constexpr float thresholds[] = {0};
};
template <>
struct Levels<2> {
  static constexpr unsigned half = 2;
  static constexpr float magnitudes[] = {0.4528f, 1.51f};
  static constexpr float thresholds[] = {0.9816f};
};
template <>
struct Levels<4> {
  static constexpr unsigned half = 8;
  static constexpr float magnitudes[] = {0.1284f, 0.3881f, 0.6568f, 0.9424f, 1.256f, 1.618f, 2.069f, 2.733f};
  static constexpr float thresholds[] = {0.2582f, 0.5224f, 0.7996f, 1.099f, 1.437f, 1.844f, 2.401f};
};

/** Terms at once in a fixed order, whatever the width of a vector. */
struct Sums {
  Vector lanes[kSumLanes / kLanes] = {};

  template <class Term>
  TAH_INLINE void add(size_t from, const Term& term) {
    for (size_t i = 0; i < kSumLanes / kLanes; i++) lanes[i] = lanes[i] + term(from + i * kLanes);
  }

  float folded() const {
    float sums[kSumLanes];
    std::memcpy(sums, lanes, sizeof sums);
    for (size_t half = kSumLanes / 2; half >= 1; half /= 2)
      for (size_t i = 0; i < half; i++) sums[i] = sums[i] + sums[i + half];
    return sums[0];
  }
};

/** values[i] *= factor; the largest magnitude, as bits. */
inline uint32_t scaledPeak(float* __restrict values, size_t length, float factor) {
  uint32_t peak = 0;
  for (size_t i = 0; i < length; i++) {
    values[i] *= factor;
    const uint32_t magnitude = bitsOf(values[i]) & kMagnitude;
    peak = magnitude > peak ? magnitude : peak;
  }
  return peak;
}

/** A row's codes in even steps, a byte each, and its scale as bfloat16. */
template <unsigned bits, bool isFresh>
inline uint16_t quantiseUniform(uint8_t* __restrict codes, const float* __restrict values, size_t count, uint32_t peak,
                                uint32_t key) {
  constexpr int32_t offset = 1 << (bits - 1);
  constexpr int32_t least = isFresh ? -offset : 1 - offset;
  constexpr float most = isFresh ? float(offset) - 0.5f : float(offset - 1);
  constexpr float magic = isFresh ? kFractionMagic : kWholeMagic;
  const uint16_t scale = brainFloatAbove(bitsOf(floatOf(peak) / most));
  const float inverse = 1 / fromBrainFloat(scale);
  const int32_t zero = int32_t(bitsOf(magic));
  for (size_t i = 0; i < paddedColumns(count); i++) {
    int32_t code = int32_t(bitsOf(values[i] * inverse + magic)) - zero;
    if (isFresh) code = (code + int32_t(ditherOf(key, uint32_t(i))) - kHalfStep) >> kDitherBits;
    code = code > offset - 1 ? offset - 1 : code < least ? least : code;
    codes[i] = uint8_t(code + offset);
  }
  return scale;
}

/** Moves a row's integers to the halves above them, and takes away what quantiseUniform shifted them by. */
inline void removeDither(float* __restrict values, size_t count, uint32_t key) {
  constexpr float kUnit = 1.f / (1 << (kDitherBits + 1));
  for (size_t i = 0; i < count; i++)
    values[i] -= float(int32_t(2 * ditherOf(key, uint32_t(i)) + 1)) * kUnit - 1.f;
}

/** A row's codes of the nearest levels, a byte each, and its scale as bfloat16. `levels`: scratch memory as long as the row. */
template <unsigned bits>
inline uint16_t quantiseToLevels(uint8_t* __restrict codes, float* __restrict levels, const float* __restrict values,
                                 size_t count) {
  using Table = Levels<bits>;
  constexpr unsigned half = Table::half;
  const size_t padded = paddedColumns(count);
  Sums squares;
  for (size_t i = 0; i < padded; i += kSumLanes)
    squares.add(i, [&](size_t at) TAH_INLINE_BODY { return load(values + at) * load(values + at); });
  const float square = squares.folded();
  const float inverse = 1 / ::sqrtf(square / float(count));

  uint32_t above[half] = {};
  for (size_t i = 0; i < padded; i++) {
    const float magnitude = floatOf(bitsOf(values[i]) & kMagnitude);
    const float normal = magnitude * inverse;
    float level = Table::magnitudes[0];
    uint32_t code = 0;
    for (unsigned k = 0; k + 1 < half; k++) {
      const bool isAbove = normal > Table::thresholds[k];
      level = isAbove ? Table::magnitudes[k + 1] : level;
      code += isAbove;
      above[k] += isAbove;
    }
    levels[i] = magnitude * level;
    codes[i] = uint8_t(values[i] < 0 ? half - 1 - code : half + code);
  }
  Sums products;
  for (size_t i = 0; i < padded; i += kSumLanes)
    products.add(i, [&](size_t at) TAH_INLINE_BODY { return load(levels + at); });
  const float product = products.folded();
  float levelSquare = 0;
  uint32_t atLeast = uint32_t(count);
  for (unsigned k = 0; k < half; k++) {
    const uint32_t here = atLeast - above[k];
    levelSquare = levelSquare + float(here) * (Table::magnitudes[k] * Table::magnitudes[k]);
    atLeast = above[k];
  }
  return nearestBrainFloat(bitsOf(product / levelSquare));
}

}  // namespace tah::TAH_ISA
