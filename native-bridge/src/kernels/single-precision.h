#pragma once

#include "panels.h"

namespace tah::TAH_ISA {

/** The number format of panels that multiply floats as they are: an element is one of them. */
struct SinglePrecision {
  static constexpr size_t kDepthPerStep = 1;

  /** tile += a · b over `steps`. */
  template <size_t rows, size_t vectors, class Layout>
  static TAH_INLINE void addProduct(Vector (&tile)[rows][vectors], const float* a, Layout layout, const float* b, size_t steps) {
    RowGroups<rows, Layout> left(a, layout);
    for (size_t p = 0; p < steps; p++, left.step()) {
      Vector right[vectors];
      for (size_t j = 0; j < vectors; j++) right[j] = load(b + p * kTileColumns + j * kLanes);
      unrolled<rows>([&](auto i) TAH_INLINE_BODY {
        const float element = left.at(i.value);
        unrolled<vectors>([&](auto j) TAH_INLINE_BODY { tile[i.value][j.value] += right[j.value] * element; });
      });
    }
  }

  /** kLanes steps of one row, `left` numbers of which are there; the others are zero. */
  static Vector loadSteps(const float* from, size_t left) { return load(from, left); }

  /** One step of `width` neighbours, `count` of which are there; the others are zero. */
  template <size_t width>
  static void packStep(float* to, const float* from, size_t, size_t count, size_t) {
    if (count >= width) std::memcpy(to, from, width * sizeof(float));
    else
      for (size_t i = 0; i < width; i++) to[i] = i < count ? from[i] : 0.f;
  }
};

}  // namespace tah::TAH_ISA
