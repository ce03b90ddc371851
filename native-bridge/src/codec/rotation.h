#pragma once

// `src/compute/codec/portable/rotation.ts`: the same sums, many at a time.

#include <cmath>

#include "../kernels/vector.h"
#include "noise.h"

namespace tah::TAH_ISA {

constexpr size_t kLongestBlock = 4096;

/** The block of a row that begins where `columns` are left. */
inline size_t blockLength(size_t columns) {
  size_t length = kLongestBlock;
  while (length > columns) length /= 2;
  return length;
}

inline float blockFactor(size_t length) { return float(1 / ::sqrt(double(length))); }

/** One stage within a vector: sums in the lanes without the bit `half`, differences in those with it. */
template <size_t half>
TAH_INLINE Vector butterfly(Vector value) {
#if defined(__GNUC__) && !defined(__clang__)
  IntegerVector partner, sign, bits;
  for (size_t lane = 0; lane < kLanes; lane++) {
    partner[lane] = uint32_t(lane ^ half);
    sign[lane] = (lane & half) != 0 ? 0x80000000 : 0;
  }
  const Vector other = __builtin_shuffle(value, partner);
  std::memcpy(&bits, &value, sizeof bits);
  bits ^= sign;
  std::memcpy(&value, &bits, sizeof value);
  return other + value;
#else
  Vector result = value;
  for (size_t lane = 0; lane < kLanes; lane++)
    result[lane] = (lane & half) != 0 ? value[lane ^ half] - value[lane] : value[lane] + value[lane ^ half];
  return result;
#endif
}

TAH_INLINE Vector butterflies(Vector value) {
  value = butterfly<2>(butterfly<1>(value));
  if constexpr (kLanes > 4) value = butterfly<4>(value);
  if constexpr (kLanes > 8) value = butterfly<8>(value);
  return value;
}

/** In place, not scaled. Shortest butterflies first; two stages at a time, so that memory is gone through half as often. */
inline void hadamard(float* values, size_t length) {
  if (length < kLanes) {
    for (size_t half = 1; half < length; half *= 2)
      for (size_t i = 0; i < length; i++)
        if ((i & half) == 0) {
          const float a = values[i], b = values[i + half];
          values[i] = a + b;
          values[i + half] = a - b;
        }
    return;
  }
  for (size_t i = 0; i < length; i += kLanes) store(values + i, butterflies(load(values + i)));
  size_t half = kLanes;
  for (; 2 * half < length; half *= 4)
    for (size_t start = 0; start < length; start += 4 * half)
      for (size_t i = start; i < start + half; i += kLanes) {
        const Vector a = load(values + i), b = load(values + i + half);
        const Vector c = load(values + i + 2 * half), d = load(values + i + 3 * half);
        const Vector sumFirst = a + b, differenceFirst = a - b, sumSecond = c + d, differenceSecond = c - d;
        store(values + i, sumFirst + sumSecond);
        store(values + i + half, differenceFirst + differenceSecond);
        store(values + i + 2 * half, sumFirst - sumSecond);
        store(values + i + 3 * half, differenceFirst - differenceSecond);
      }
  if (half < length)
    for (size_t i = 0; i < half; i += kLanes) {
      const Vector a = load(values + i), b = load(values + i + half);
      store(values + i, a + b);
      store(values + i + half, a - b);
    }
}

/** out[i] = ± factor · source[i] with the signs of `key`. */
inline void copyWithSigns(float* __restrict out, const float* __restrict source, size_t count, uint32_t key, float factor) {
  const auto flip = [&](size_t from, size_t length, uint32_t signs) TAH_INLINE_BODY {
    for (uint32_t i = 0; i < length; i++)
      out[from + i] = floatOf(bitsOf(source[from + i] * factor) ^ (signs << (31 - i) & 0x80000000));
  };
  const size_t whole = count / 32;
  for (size_t word = 0; word < whole; word++) flip(32 * word, 32, signWord(key, word));
  if (count % 32 != 0) flip(32 * whole, count % 32, signWord(key, whole));
}

}  // namespace tah::TAH_ISA
