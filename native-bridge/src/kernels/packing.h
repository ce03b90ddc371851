#pragma once

// Copies of matrices in the panels that `panels.h` multiplies, in any number format.

#include "panels.h"

namespace tah::TAH_ISA {

/** Where an operand's element (i, p) lies, i along the panels' width and p along the depth. */
struct Source {
  const float* data;
  /** Distance between neighbours along the dimension that is not contiguous. */
  size_t stride;
  /** Whether neighbours along the panel's width are contiguous; if not, those along the depth are. */
  bool alongWidth;

  Source at(size_t i, size_t p) const {
    return {data + (alongWidth ? p * stride + i : i * stride + p), stride, alongWidth};
  }
};

/** How many steps a depth takes in a number format. */
template <class Format>
constexpr size_t stepsOf(size_t depth) {
  return panelCount(depth, Format::kDepthPerStep);
}

/** Packs `rows` rows that are contiguous along the depth, as rows of steps that lie `rowStride` apart. */
template <class Format>
inline void packRows(float* packed, size_t rowStride, const Source& source, size_t rows, size_t depth) {
  for (size_t row = 0; row < rows; row++)
    for (size_t p = 0; p < depth; p += kLanes * Format::kDepthPerStep)
      store(packed + row * rowStride + p / Format::kDepthPerStep,
            Format::loadSteps(source.data + row * source.stride + p, depth - p),
            panelCount(depth - p, Format::kDepthPerStep));
}

/** Packs `extent` neighbours along the width into panels [step][width], a few panels at a time: they share cache lines. */
template <class Format, size_t width>
inline void packAlongWidth(float* panels, const Source& source, size_t extent, size_t depth) {
  constexpr size_t kAtOnce = 4 * width;
  const size_t steps = stepsOf<Format>(depth);
  for (size_t first = 0; first < extent; first += kAtOnce)
    for (size_t step = 0; step < steps; step++) {
      const size_t p = step * Format::kDepthPerStep;
      for (size_t i = first; i < extent && i < first + kAtOnce; i += width)
        Format::template packStep<width>(panels + i * steps + step * width, source.data + p * source.stride + i,
                                         source.stride, extent - i, depth - p);
    }
}

/** Turns kLanes vectors, the rows of a square, into its columns, by log2(kLanes) rounds of a perfect shuffle. */
inline void transpose(Vector (&square)[kLanes]) {
  for (size_t round = 1; round < kLanes; round *= 2) {
    Vector shuffled[kLanes];
    for (size_t i = 0; i < kLanes / 2; i++) {
      shuffled[2 * i] = interleave<false>(square[i], square[i + kLanes / 2]);
      shuffled[2 * i + 1] = interleave<true>(square[i], square[i + kLanes / 2]);
    }
    for (size_t i = 0; i < kLanes; i++) square[i] = shuffled[i];
  }
}

/** Packs `extent` rows that are contiguous along the depth into panels [step][width], in squares that are transposed. */
template <class Format, size_t width>
inline void packTransposed(float* panels, const Source& source, size_t extent, size_t depth) {
  static_assert(width % kLanes == 0);
  const size_t steps = stepsOf<Format>(depth);
  for (size_t first = 0; first < padded(extent, width); first += kLanes) {
    float* panel = panels + first / width * width * steps + first % width;
    for (size_t step = 0; step < steps; step += kLanes) {
      const size_t p = step * Format::kDepthPerStep;
      Vector square[kLanes];
      for (size_t i = 0; i < kLanes; i++)
        square[i] = first + i < extent ? Format::loadSteps(source.data + (first + i) * source.stride + p, depth - p)
                                       : Vector{};
      transpose(square);
      for (size_t i = 0; i < kLanes && step + i < steps; i++) store(panel + (step + i) * width, square[i]);
    }
  }
}

/** Packs a right operand of `columns` columns. */
template <class Format>
inline void packColumns(float* panels, const Source& source, size_t columns, size_t depth) {
  if (source.alongWidth) packAlongWidth<Format, kTileColumns>(panels, source, columns, depth);
  else packTransposed<Format, kTileColumns>(panels, source, columns, depth);
}

}  // namespace tah::TAH_ISA
