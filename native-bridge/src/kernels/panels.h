#pragma once

// Matrix products on packed panels, the core of `gemm.cc` and of attention (Goto & van de Geijn 2008, BLIS). A product
// out += a · b runs over tiles of kTileRows × kTileColumns results that stay in registers. Its operands are first packed
// (`packing.h`), into a number format of their own (`format.h`): a panel's element is 4 bytes, for one step along the
// depth. Elements of b beyond the matrix are zeros; rows of a beyond it are computed with and not stored.

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

/** How a panel of a lies in memory: [step][kTileRows], for a matrix whose rows are neighbours in memory … */
struct BySteps {
  static constexpr size_t row() { return 1; }
  static constexpr size_t step() { return kTileRows; }
};

/** … or as rows of steps, `stride` apart, for one whose elements along the depth are. */
struct ByRows {
  size_t stride;
  size_t row() const { return stride; }
  static constexpr size_t step() { return 1; }
};

/** The elements of one step of a panel of a. Three rows share a pointer: one for each would not fit the registers. */
template <size_t rows, class Layout>
class RowGroups {
 public:
  RowGroups(const float* panel, Layout layout) : layout_(layout) {
    for (size_t group = 0; group < kGroups; group++) first_[group] = panel + 3 * group * layout.row();
  }
  float at(size_t row) const { return first_[row / 3][row % 3 * layout_.row()]; }
  void step() {
    for (const float*& first : first_) first += layout_.step();
  }

 private:
  static constexpr size_t kGroups = (rows + 2) / 3;
  const float* first_[kGroups];
  Layout layout_;
};

/** The left operand: panels of kTileRows rows, `stride` floats from one to the next. */
template <class Layout>
struct LeftPanels {
  const float* data;
  size_t stride;
  Layout layout;
};

/** Packed rows, `stride` floats apart. */
inline LeftPanels<ByRows> rowPanels(const float* rows, size_t stride) { return {rows, kTileRows * stride, {stride}}; }
inline LeftPanels<BySteps> stepPanels(const float* panels, size_t steps) { return {panels, kTileRows * steps, {}}; }

/** The right operand: panels [step][kTileColumns], `stride` floats from one to the next. */
struct RightPanels {
  const float* data;
  size_t stride;
};

inline RightPanels columnPanels(const float* panels, size_t steps) { return {panels, kTileColumns * steps}; }

/** Where results go: `rows` × `columns` of them, stored in or added to `data`. */
struct Target {
  float* data;
  size_t stride, rows, columns;
  bool accumulate;
};

/** Computes tileRows × vectors results, of which the target may want fewer. */
template <class Format, size_t tileRows, size_t vectors, class Layout>
inline void multiplyTile(const Target& target, const float* a, Layout layout, const float* b, size_t steps) {
  // Where the results go lies in main memory, and is needed only after the loop.
  for (size_t i = 0; i < tileRows && i < target.rows; i++)
    for (size_t j = 0; j < vectors && j * kLanes < target.columns; j++)
      prefetchToWrite(target.data + i * target.stride + j * kLanes);
  Vector tile[tileRows][vectors] = {};
  Format::addProduct(tile, a, layout, b, steps);
  const bool isWhole = target.rows >= tileRows && target.columns >= vectors * kLanes;
  unrolled<tileRows>([&](auto i) TAH_INLINE_BODY {
    unrolled<vectors>([&](auto j) TAH_INLINE_BODY {
      if (!isWhole && (i.value >= target.rows || j.value * kLanes >= target.columns)) return;
      float* to = target.data + i.value * target.stride + j.value * kLanes;
      const size_t count = isWhole ? kLanes : target.columns - j.value * kLanes;
      store(to, target.accumulate ? load(to, count) + tile[i.value][j.value] : tile[i.value][j.value], count);
    });
  });
}

template <class Format, size_t tileRows, class Layout>
inline void multiplyRows(const Target& target, const float* a, Layout layout, const float* b, size_t steps) {
  if (target.columns > kLanes) multiplyTile<Format, tileRows, kTileVectors>(target, a, layout, b, steps);
  else multiplyTile<Format, tileRows, 1>(target, a, layout, b, steps);
}

/**
 * target (+)= a · b, with a and b packed. A panel of a stays in the first cache while all of b passes by. At the edges smaller
 * tiles compute less in vain.
 */
template <class Format, class Layout>
inline void multiplyPanels(const Target& target, LeftPanels<Layout> a, RightPanels b, size_t steps) {
  constexpr size_t kThird = kTileRows / 3;
  for (size_t i = 0; i < target.rows; i += kTileRows, a.data += a.stride) {
    const float* panel = b.data;
    for (size_t j = 0; j < target.columns; j += kTileColumns, panel += b.stride) {
      const Target rest{target.data + i * target.stride + j, target.stride, target.rows - i, target.columns - j,
                        target.accumulate};
      if (rest.rows > 2 * kThird) multiplyRows<Format, kTileRows>(rest, a.data, a.layout, panel, steps);
      else if (rest.rows > kThird) multiplyRows<Format, 2 * kThird>(rest, a.data, a.layout, panel, steps);
      else multiplyRows<Format, kThird>(rest, a.data, a.layout, panel, steps);
    }
  }
}

}  // namespace tah::TAH_ISA
