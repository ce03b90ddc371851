#pragma once

// Matrix products on packed panels, the core of `gemm.cc` and of attention (Goto & van de Geijn 2008, BLIS). A product
// out += a · b runs over tiles of kTileRows × kTileColumns results that stay in registers. Its operands are first copied
// into panels in the order in which the tile loop reads them:
//   a panel of a: [depth][kTileRows]     a panel of b: [depth][kTileColumns]
// Rows and columns beyond the matrix are zeros, so the tile loop has no edges.

#include "vector.h"

namespace tah::TAH_ISA {

// The tile's accumulators, one row of b and one broadcast of a fill the vector registers: 32 of them in AVX-512 and
// NEON, 16 in SSE and AVX2.
#if defined(__AVX512F__) || defined(__aarch64__) || defined(_M_ARM64)
constexpr size_t kTileRows = 12;
#else
constexpr size_t kTileRows = 6;
#endif
constexpr size_t kTileVectors = 2;
constexpr size_t kTileColumns = kTileVectors * kLanes;

constexpr size_t panelCount(size_t extent, size_t panelWidth) { return (extent + panelWidth - 1) / panelWidth; }
/** `extent` rounded up to whole panels. */
constexpr size_t padded(size_t extent, size_t panelWidth) { return panelCount(extent, panelWidth) * panelWidth; }

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

using Tile = Vector[kTileRows][kTileVectors];

/**
 * The number format of panels. One step of a panel holds, for each row or column, one 4-byte element: here a float, and
 * elsewhere what several steps along the depth make together.
 */
struct SinglePrecision {
  static constexpr size_t kDepthPerStep = 1;

  template <size_t width>
  static void packPanel(float* panel, const Source& source, size_t count, size_t depth);

  /** tile += a · b over `steps`. */
  static void addProduct(Tile& tile, const float* a, const float* b, size_t steps) {
    for (size_t p = 0; p < steps; p++) {
      Vector row[kTileVectors];
      for (size_t j = 0; j < kTileVectors; j++) row[j] = load(b + p * kTileColumns + j * kLanes);
      for (size_t i = 0; i < kTileRows; i++)
        for (size_t j = 0; j < kTileVectors; j++) tile[i][j] += row[j] * a[p * kTileRows + i];
    }
  }
};

/** Packs `count` ≤ width rows of the source into one panel of `depth`. */
template <size_t width>
inline void SinglePrecision::packPanel(float* panel, const Source& source, size_t count, size_t depth) {
  if (source.alongWidth) {
    for (size_t p = 0; p < depth; p++) {
      const float* from = source.data + p * source.stride;
      float* to = panel + p * width;
      if (count == width) std::memcpy(to, from, width * sizeof(float));
      else
        for (size_t i = 0; i < width; i++) to[i] = i < count ? from[i] : 0.f;
    }
    return;
  }
  for (size_t first = 0; first < width; first += kLanes) {
    const size_t columns = width - first < kLanes ? width - first : kLanes;
    for (size_t p = 0; p < depth; p += kLanes) {
      const size_t rows = depth - p < kLanes ? depth - p : kLanes;
      Vector square[kLanes];
      for (size_t i = 0; i < kLanes; i++)
        square[i] = first + i < count ? load(source.data + (first + i) * source.stride + p, rows) : Vector{};
      transpose(square);
      for (size_t i = 0; i < rows; i++) store(panel + (p + i) * width + first, square[i], columns);
    }
  }
}

/** Packs `extent` rows of the source into consecutive panels. */
template <size_t width, class Format = SinglePrecision>
inline void packPanels(float* panels, const Source& source, size_t extent, size_t depth) {
  const size_t steps = panelCount(depth, Format::kDepthPerStep);
  for (size_t first = 0; first < extent; first += width)
    Format::template packPanel<width>(panels + first * steps, source.at(first, 0),
                                      extent - first < width ? extent - first : width, depth);
}

/** Panels that lie `stride` floats apart; more than the depth in use when only the front of each is read. */
struct Panels {
  const float* data;
  size_t stride;
};

/** The top left rows × columns of one tile of a · b, stored in or added to out. */
template <class Format>
inline void multiplyTile(float* out, size_t outStride, const float* a, const float* b, size_t rows, size_t columns,
                         size_t steps, bool accumulate) {
  Tile tile = {};
  Format::addProduct(tile, a, b, steps);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j * kLanes < columns; j++) {
      float* to = out + i * outStride + j * kLanes;
      const size_t count = columns - j * kLanes;
      store(to, accumulate ? load(to, count) + tile[i][j] : tile[i][j], count);
    }
}

/** out[rows, columns] (+)= a · b, with a and b packed. A panel of a stays in the first cache while all of b passes by. */
template <class Format = SinglePrecision>
inline void multiplyPanels(float* out, size_t outStride, Panels a, Panels b, size_t rows, size_t columns, size_t steps,
                           bool accumulate) {
  for (size_t i = 0; i < rows; i += kTileRows)
    for (size_t j = 0; j < columns; j += kTileColumns)
      multiplyTile<Format>(out + i * outStride + j, outStride, a.data + i / kTileRows * a.stride,
                           b.data + j / kTileColumns * b.stride, rows - i < kTileRows ? rows - i : kTileRows,
                           columns - j < kTileColumns ? columns - j : kTileColumns, steps, accumulate);
}

}  // namespace tah::TAH_ISA
