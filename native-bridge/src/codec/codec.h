#pragma once

// The C++ signatures of `src/compute/codec/grid.ts`, on plain pointers. Shapes and lengths have been checked by the caller;
// what a payload holds has not. Like the kernels, every file here is compiled once per instruction set, but with no
// multiplication fused to an addition: all of them, and TypeScript, give the same bits.

#include <cstddef>
#include <cstdint>

namespace tah {

/** As in `grid.ts`. */
struct Grid {
  size_t columns;
  uint32_t seed;
  bool isFresh;
};

struct Quantiser {
  /** By a table of levels; otherwise in even steps. */
  bool hasLevels;
  unsigned bits;
};

/** Keeps sizes of scratch memory small: no model is as wide. */
constexpr size_t kMostColumns = 1 << 20;

constexpr size_t kScaleBytes = 2;

inline size_t codeBytes(size_t columns, unsigned bits) { return (columns * bits + 7) / 8; }

inline size_t gridBytes(size_t length, size_t columns, unsigned bits) {
  const size_t rest = length % columns;
  return length / columns * (kScaleBytes + codeBytes(columns, bits)) + (rest == 0 ? 0 : kScaleBytes + codeBytes(rest, bits));
}

/** Rows are worked on in whole vectors of so many floats, the sums of which have as many terms at once. */
constexpr size_t kSumLanes = 16;

inline size_t paddedColumns(size_t columns) { return (columns + kSumLanes - 1) / kSumLanes * kSumLanes; }

/** Floats that encodeGrid and decodeGrid take for a row, its levels and its codes. */
inline size_t gridScratch(size_t columns) { return 3 * paddedColumns(columns); }

/** As `sparseLayout` in `sparse-layout.ts`: how many numbers of a chunk are kept, and how their places are written. */
struct SparseLayout {
  size_t kept;
  unsigned riceBits;
};

constexpr size_t kSparseChunk = 4096;
constexpr size_t kSparseLevelBytes = 4;

inline SparseLayout sparseLayout(size_t keptOfWhole, size_t length) {
  const size_t kept = (keptOfWhole * length + kSparseChunk - 1) / kSparseChunk;
  unsigned riceBits = 0;
  while ((size_t(2) << riceBits) * kept * 10 <= 7 * (length - kept)) riceBits++;
  return {kept, riceBits};
}

/** The longest body that encodeSparse writes. */
inline size_t sparseBytesAtMost(size_t keptOfWhole, size_t length) {
  const auto bytes = [=](size_t chunk) {
    const SparseLayout layout = sparseLayout(keptOfWhole, chunk);
    const size_t bits = layout.kept * (layout.riceBits + 3) + ((chunk - layout.kept) >> layout.riceBits);
    return kSparseLevelBytes + (bits + 7) / 8;
  };
  const size_t rest = length % kSparseChunk;
  return length / kSparseChunk * bytes(kSparseChunk) + (rest == 0 ? 0 : bytes(rest));
}

// clang-format off
#define TAH_CODEC(FUNCTION)                                                                                              \
  FUNCTION(bool, encodeGrid, (uint8_t* body, const float* values, size_t length, Grid, Quantiser, float* scratch))       \
  FUNCTION(bool, decodeGrid, (float* values, const uint8_t* body, size_t length, Grid, Quantiser, float* scratch))       \
  FUNCTION(bool, encodeBrainFloats, (uint8_t* body, const float* values, size_t length, Grid))                           \
  FUNCTION(bool, decodeBrainFloats, (float* values, const uint8_t* body, size_t length))                                 \
  FUNCTION(size_t, encodeSparse, (uint8_t* body, const float* values, size_t length, size_t kept))                       \
  FUNCTION(bool, decodeSparse, (float* values, const uint8_t* body, size_t bodyBytes, size_t length, size_t kept))         \
  FUNCTION(void, addArrays, (float* sums, const float* others, size_t length))                                           \
  FUNCTION(void, subtractArrays, (float* differences, const float* others, size_t length))
// clang-format on

struct CodecTable {
#define TAH_ENTRY(result, name, parameters) result(*name) parameters;
  TAH_CODEC(TAH_ENTRY)
#undef TAH_ENTRY
};

#if defined(TAH_ISA)
namespace TAH_ISA {
#define TAH_DECLARATION(result, name, parameters) result name parameters;
TAH_CODEC(TAH_DECLARATION)
#undef TAH_DECLARATION
}  // namespace TAH_ISA
#endif

namespace generic {
extern const CodecTable codecTable;
}
namespace avx2 {
extern const CodecTable codecTable;
}
namespace avx512 {
extern const CodecTable codecTable;
}

}  // namespace tah
