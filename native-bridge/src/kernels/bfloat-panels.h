#pragma once

// Panels in bfloat16, for processors that multiply it: an element is a pair of numbers that follow each other along the
// depth, rounded to nearest even, and the instruction adds both of their products to a float. (Intel SDM vol. 2,
// VDPBF16PS: subnormals count as zero; NaN and infinity pass through.) Intrinsics are inlined by the compiler: they leave
// no copy for the linker.

#include <immintrin.h>

#include "panels.h"

namespace tah::TAH_ISA {

struct BrainFloat {
  static constexpr size_t kDepthPerStep = 2;

  template <size_t width>
  static void packPanel(float* panel, const Source& source, size_t count, size_t depth) {
    if (source.alongWidth) packAlongWidth<width>(panel, source, count, depth);
    else packAlongDepth<width>(panel, source, count, depth);
  }

  static void addProduct(Tile& tile, const float* a, const float* b, size_t steps) {
    for (size_t p = 0; p < steps; p++) {
      __m512bh row[kTileVectors];
      for (size_t j = 0; j < kTileVectors; j++) row[j] = (__m512bh)_mm512_loadu_ps(b + p * kTileColumns + j * kLanes);
      for (size_t i = 0; i < kTileRows; i++) {
        const __m512bh pair = (__m512bh)_mm512_set1_ps(a[p * kTileRows + i]);
        for (size_t j = 0; j < kTileVectors; j++) tile[i][j] = _mm512_dpbf16_ps(tile[i][j], row[j], pair);
      }
    }
  }

 private:
  /** The low half of each lane holds the first number's bits, the high half the second's. */
  static Vector pairsOf(Vector first, Vector second) {
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(first));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(second));
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }

  template <size_t width>
  static void packAlongWidth(float* panel, const Source& source, size_t count, size_t depth) {
    for (size_t p = 0; p < depth; p += kDepthPerStep)
      for (size_t i = 0; i < width; i += kLanes) {
        const size_t there = i < count ? count - i : 0;
        const float* from = source.data + p * source.stride + i;
        const Vector first = loadFirst(from, there);
        const Vector second = p + 1 < depth ? loadFirst(from + source.stride, there) : Vector{};
        storeFirst(panel + p / kDepthPerStep * width + i, pairsOf(first, second), width - i);
      }
  }

  template <size_t width>
  static void packAlongDepth(float* panel, const Source& source, size_t count, size_t depth) {
    constexpr size_t kSquareDepth = kLanes * kDepthPerStep;
    for (size_t first = 0; first < width; first += kLanes)
      for (size_t p = 0; p < depth; p += kSquareDepth) {
        const size_t left = depth - p;
        Vector square[kLanes];
        for (size_t i = 0; i < kLanes; i++) {
          const bool isThere = first + i < count;
          const float* from = source.data + (first + i) * source.stride + p;
          const Vector low = loadFirst(from, isThere ? left : 0);
          const Vector high = loadFirst(from + kLanes, isThere && left > kLanes ? left - kLanes : 0);
          square[i] = (__m512)_mm512_cvtne2ps_pbh(high, low);
        }
        transpose(square);
        const size_t steps = left < kSquareDepth ? panelCount(left, kDepthPerStep) : kLanes;
        for (size_t i = 0; i < steps; i++)
          storeFirst(panel + (p / kDepthPerStep + i) * width + first, square[i], width - first);
      }
  }

  static __mmask16 firstLanes(size_t count) { return __mmask16(count >= kLanes ? 0xffff : (1u << count) - 1); }
  /** The first `count` floats, and zeros; masked, since a panel's width need not be whole vectors. */
  static Vector loadFirst(const float* from, size_t count) { return _mm512_maskz_loadu_ps(firstLanes(count), from); }
  static void storeFirst(float* to, Vector value, size_t count) {
    _mm512_mask_storeu_ps(to, firstLanes(count), value);
  }
};

}  // namespace tah::TAH_ISA
