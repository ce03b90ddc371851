#pragma once

#include "panels.h"

namespace tah::TAH_ISA {

/**
 * The number format of panels for processors that multiply bfloat16: an element is a pair of numbers that follow each other
 * along the depth, rounded to nearest even, and the instruction adds both of their products to a float. (Intel SDM vol. 2,
 * VDPBF16PS: subnormals count as zero; NaN and infinity pass through.) Intrinsics leave no copy for the linker.
 */
struct BrainFloat {
  static constexpr size_t kDepthPerStep = 2;

  template <size_t rows, size_t vectors, class Layout>
  static TAH_INLINE void addProduct(Vector (&tile)[rows][vectors], const float* a, Layout layout, const float* b, size_t steps) {
    RowGroups<rows, Layout> left(a, layout);
    for (size_t p = 0; p < steps; p++, left.step()) {
      __m512bh right[vectors];
      for (size_t j = 0; j < vectors; j++) right[j] = (__m512bh)_mm512_loadu_ps(b + p * kTileColumns + j * kLanes);
      unrolled<rows>([&](auto i) TAH_INLINE_BODY {
        const __m512bh pair = (__m512bh)_mm512_set1_ps(left.at(i.value));
        unrolled<vectors>([&](auto j) TAH_INLINE_BODY {
          tile[i.value][j.value] = _mm512_dpbf16_ps(tile[i.value][j.value], right[j.value], pair);
        });
      });
    }
  }

  static Vector loadSteps(const float* from, size_t left) {
    const Vector low = load(from, left);
    const Vector high = load(from + kLanes, left > kLanes ? left - kLanes : 0);
    return (__m512)_mm512_cvtne2ps_pbh(high, low);
  }

  template <size_t width>
  static void packStep(float* to, const float* from, size_t stride, size_t count, size_t depthLeft) {
    for (size_t i = 0; i < width; i += kLanes) {
      const size_t there = i < count ? count - i : 0;
      const Vector first = load(from + i, there);
      const Vector second = depthLeft > 1 ? load(from + stride + i, there) : Vector{};
      store(to + i, pairsOf(first, second), width - i);
    }
  }

  /** The low half of each lane holds the first number's bits, the high half the second's. */
  static Vector pairsOf(Vector first, Vector second) {
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(first));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(second));
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
};

}  // namespace tah::TAH_ISA
