#pragma once

// What the forward and the backward pass of attention share: how a head's matrices lie in memory, and how the score
// matrix is cut into tiles. A tile of kKeyBlock × kQueryBlock scores is all of it that ever exists (Dao 2022). It lies
// transposed, [key][query]: a query is a lane, so that no sum or maximum crosses lanes, and what softmax leaves there is
// the panel that the next product takes. Both products with v are in single precision always: the backward pass subtracts
// one from the other, and where little is left of them, rounding would be most of it.

#include "format.h"
#include "kernels.h"
#include "range.h"

namespace tah::TAH_ISA {

constexpr size_t kQueryBlock = kTileColumns;
constexpr size_t kKeyBlock = 8 * kTileRows;
static_assert(kKeyBlock % 2 == 0, "a block of keys is whole steps in any format");

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

/** Consecutive parts of a task's scratch memory, each on a cache line; without memory it only counts. */
class Scratch {
 public:
  explicit Scratch(float* memory = nullptr) : memory_(memory) {}
  float* take(size_t floats) {
    float* part = memory_ == nullptr ? nullptr : memory_ + taken_;
    taken_ += padded(floats, kAlignedFloats);
    return part;
  }
  size_t taken() const { return taken_; }

 private:
  static constexpr size_t kAlignedFloats = 16;
  float* memory_;
  size_t taken_ = 0;
};

/** Rows of packed heads lie so far apart: not a power of two, or all would fall into the same few sets of the cache. */
template <class Format>
size_t headStride(const AttentionShape& shape) {
  return padded(stepsOf<Format>(shape.headDim), kLanes) + kLanes;
}

/** A value for each query of a block. */
struct QueryVectors {
  Vector vector[kTileVectors];
};

/** The first keys that each query of a block may see. */
class Visibility {
 public:
  Visibility(const AttentionShape& shape, size_t firstQuery, size_t queries)
      : firstQueryKeys_(shape.keys - shape.queries + firstQuery + 1), keys_(firstQueryKeys_ + queries - 1) {}

  /** How many keys the last query of the block sees, and with it any. */
  size_t keys() const { return keys_; }

  /** `value`, of vector `j` of a row of scores, with `hidden` for the queries that do not see `key`. */
  Vector mask(Vector value, size_t key, size_t j, float hidden) const {
    if (key < firstQueryKeys_) return value;
    const size_t firstQuery = key - firstQueryKeys_ + 1;
    return firstQuery <= j * kLanes ? value : lanesFrom(firstQuery - j * kLanes, value, hidden);
  }

 private:
  size_t firstQueryKeys_;
  size_t keys_;
};

/** head[first + query][channel] = transposed[channel][query], for the first `queries` queries of a block. */
inline void storeTransposed(Head<float> head, size_t first, size_t queries, const float* transposed, size_t channels) {
  for (size_t query = 0; query < queries; query += kLanes)
    for (size_t channel = 0; channel < channels; channel += kLanes) {
      Vector square[kLanes];
      for (size_t i = 0; i < kLanes; i++)
        square[i] = channel + i < channels ? load(transposed + (channel + i) * kQueryBlock + query) : Vector{};
      transpose(square);
      for (size_t i = 0; i < kLanes && query + i < queries; i++)
        store(head.row(first + query + i) + channel, square[i], channels - channel);
    }
}

/** A tile [keys][kQueryBlock] as the right operand of a product along the keys; in single precision it is one already. */
template <class Format>
RightPanels columnsOf(const float* tile, size_t keys, float* packed) {
  if constexpr (Format::kDepthPerStep == 1) return {tile, 0};
  packAlongWidth<Format, kTileColumns>(packed, {tile, kQueryBlock, true}, kQueryBlock, keys);
  return {packed, 0};
}

/** A tile [keys][kQueryBlock] as the left operand of a product along its first `queries` queries. */
template <class Format>
LeftPanels<ByRows> rowsOf(const float* tile, size_t keys, size_t queries, float* packed) {
  if constexpr (Format::kDepthPerStep == 1) return rowPanels(tile, kQueryBlock);
  packRows<Format>(packed, kQueryBlock, {tile, kQueryBlock, false}, keys, queries);
  return rowPanels(packed, kQueryBlock);
}

}  // namespace tah::TAH_ISA
