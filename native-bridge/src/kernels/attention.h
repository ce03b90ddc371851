#pragma once

// What the forward and the backward pass of attention share: how a head's matrices lie in memory, and how the score
// matrix is cut into tiles. A tile of kQueryBlock × kKeyBlock scores is all of it that ever exists (Dao 2022); the
// products around it run on packed panels. Both products with v are in single precision always: the backward pass
// subtracts one from the other, and where little is left of them, rounding would be most of it.

#include "format.h"
#include "kernels.h"
#include "range.h"

namespace tah::TAH_ISA {

constexpr size_t kQueryBlock = 4 * kTileRows;
constexpr size_t kKeyBlock = 4 * kTileColumns;

/** One head of q, k, v or a gradient: a matrix [positions, headDim] whose rows lie `stride` apart. */
template <class Float>
struct Head {
  Float* data;
  size_t stride;

  Float* row(size_t position) const { return data + position * stride; }
  /** The head as a product's operand: positions along the panels' width, channels along the depth. */
  Source byPosition(size_t position) const { return {row(position), stride, false}; }
  /** Channels along the panels' width, positions along the depth. */
  Source byChannel(size_t position) const { return {row(position), stride, true}; }
};

/** Head `head` of sequence `sequence` in a tensor [batch · positions, heads · headDim]. */
template <class Float>
inline Head<Float> headOf(Float* tensor, size_t sequence, size_t positions, size_t head, size_t heads, size_t headDim) {
  return {tensor + (sequence * positions * heads + head) * headDim, heads * headDim};
}

/** Consecutive parts of a task's scratch memory. */
class Scratch {
 public:
  explicit Scratch(float* memory) : next_(memory) {}
  float* take(size_t floats) {
    float* part = next_;
    next_ += padded(floats, kAlignedFloats);
    return part;
  }

  static constexpr size_t kAlignedFloats = 16;

 private:
  float* next_;
};

/** How many of the first `keys` from `firstKey` on query `query` may see, in [0, keys]. */
inline size_t visibleKeys(const AttentionShape& shape, size_t query, size_t firstKey, size_t keys) {
  const size_t visible = shape.keys - shape.queries + query + 1;
  return visible <= firstKey ? 0 : smaller(visible - firstKey, keys);
}

}  // namespace tah::TAH_ISA
