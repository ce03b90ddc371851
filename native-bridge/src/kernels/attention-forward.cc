#include "attention.h"

#include <cmath>

namespace tah::TAH_ISA {
namespace {

/** A task's scratch memory: one head's keys and values packed, and what one block of queries needs. */
struct Memory {
  // Left operands: keys by position, values by channel for each block of keys.
  float *keys, *values;
  float *queries, *scores, *out;

  Memory(const AttentionShape& shape, Scratch& scratch)
      : keys(scratch.take(padded(shape.keys, kTileRows) * headStride<Format>(shape))),
        values(scratch.take(shape.keys * padded(shape.headDim, kTileRows))),
        queries(scratch.take(stepsOf<Format>(shape.headDim) * kQueryBlock)),
        scores(scratch.take(kKeyBlock * kQueryBlock)),
        out(scratch.take(shape.headDim * kQueryBlock)) {}
};

/** The softmax of a block of queries over the keys seen so far: probabilities are e^(score − highest) / total. */
struct RunningSoftmax {
  QueryVectors highest, total;

  RunningSoftmax() {
    for (Vector& vector : highest.vector) vector = splat(-INFINITY);
    for (Vector& vector : total.vector) vector = Vector{};
  }

  /**
   * Turns products k · q, of `keys` keys from `firstKey` on, into e^(score − highest), 0 where they are hidden. Returns the
   * factors by which what was summed up for earlier keys shrinks.
   */
  QueryVectors include(float* tile, size_t firstKey, size_t keys, const Visibility& visible, float scale) {
    QueryVectors shrink;
    for (size_t j = 0; j < kTileVectors; j++) {
      float* column = tile + j * kLanes;
      Vector top = splat(-INFINITY);
      for (size_t key = 0; key < keys; key++)
        top = maximum(visible.mask(load(column + key * kQueryBlock), firstKey + key, j, -INFINITY), top);
      const Vector before = highest.vector[j];
      highest.vector[j] = maximum(top * scale, before);
      shrink.vector[j] = exponential(before - highest.vector[j]);
      Vector sum{};
      for (size_t key = 0; key < keys; key++) {
        const Vector score = visible.mask(load(column + key * kQueryBlock), firstKey + key, j, -INFINITY);
        const Vector power = exponential(score * scale - highest.vector[j]);
        store(column + key * kQueryBlock, power);
        sum += power;
      }
      total.vector[j] = total.vector[j] * shrink.vector[j] + sum;
    }
    return shrink;
  }
};

void scaleRows(float* rows, size_t count, const QueryVectors& factors) {
  for (size_t row = 0; row < count; row++)
    for (size_t j = 0; j < kTileVectors; j++) {
      float* at = rows + row * kQueryBlock + j * kLanes;
      store(at, load(at) * factors.vector[j]);
    }
}

void forwardHead(const AttentionShape& shape, const Memory& memory, Head<float> out, float* logSumExp,
                 Head<const float> q, Head<const float> k, Head<const float> v) {
  const size_t depth = shape.headDim;
  const size_t steps = stepsOf<Format>(depth);
  const size_t stride = headStride<Format>(shape);
  const size_t valueWidth = padded(depth, kTileRows);
  const float scale = 1 / std::sqrt(float(depth));

  packRows<Format>(memory.keys, stride, k.byPosition(0), shape.keys, depth);
  for (size_t key = 0; key < shape.keys; key += kKeyBlock)
    packAlongWidth<SinglePrecision, kTileRows>(memory.values + key * valueWidth, v.byChannel(key), depth,
                                               smaller(kKeyBlock, shape.keys - key));

  for (size_t query = 0; query < shape.queries; query += kQueryBlock) {
    const size_t queries = smaller(kQueryBlock, shape.queries - query);
    const Visibility visible(shape, query, queries);
    RunningSoftmax softmax;
    packColumns<Format>(memory.queries, q.byPosition(query), queries, depth);

    for (size_t key = 0; key < visible.keys(); key += kKeyBlock) {
      const size_t blockKeys = smaller(kKeyBlock, shape.keys - key);
      const size_t keys = smaller(blockKeys, visible.keys() - key);
      multiplyPanels<Format>({memory.scores, kQueryBlock, keys, kQueryBlock, false},
                             rowPanels(memory.keys + key * stride, stride), columnPanels(memory.queries, steps), steps);
      const QueryVectors shrink = softmax.include(memory.scores, key, keys, visible, scale);
      if (key > 0) scaleRows(memory.out, depth, shrink);
      multiplyPanels<SinglePrecision>({memory.out, kQueryBlock, depth, kQueryBlock, key > 0},
                                      stepPanels(memory.values + key * valueWidth, blockKeys),
                                      columnPanels(memory.scores, keys), keys);
    }
    QueryVectors inverse;
    for (size_t j = 0; j < kTileVectors; j++) inverse.vector[j] = splat(1) / softmax.total.vector[j];
    scaleRows(memory.out, depth, inverse);
    storeTransposed(out, query, queries, memory.out, depth);
    for (size_t i = 0; i < queries; i++)
      logSumExp[query + i] =
          softmax.highest.vector[i / kLanes][i % kLanes] + std::log(softmax.total.vector[i / kLanes][i % kLanes]);
  }
}

}  // namespace

size_t attentionForwardWorkspace(const AttentionShape& shape, unsigned threads) {
  Scratch counted;
  Memory(shape, counted);
  return counted.taken() * threads;
}

/** Dao 2022, alg. 1, one task per head of each sequence. */
void attentionForward(Context& context, float* out, float* logSumExp, const float* q, const float* k, const float* v,
                      const AttentionShape& shape) {
  const size_t ownFloats = attentionForwardWorkspace(shape, 1);
  float* scratch = context.workspace.floats(ownFloats * context.pool.threads());
  const size_t tasks = shape.batch * shape.heads;
  const size_t operations = 2 * tasks * shape.queries * shape.keys * shape.headDim / kLanes;
  context.pool.run(tasks, operations, [&](size_t task, unsigned thread) {
    const size_t sequence = task / shape.heads;
    const size_t head = task % shape.heads;
    const size_t keyHead = head / (shape.heads / shape.keyValueHeads);
    const auto ofQueries = [&](auto* tensor) {
      return headOf(tensor, sequence, shape.queries, head, shape.heads, shape.headDim);
    };
    const auto ofKeys = [&](auto* tensor) {
      return headOf(tensor, sequence, shape.keys, keyHead, shape.keyValueHeads, shape.headDim);
    };
    Scratch own(scratch + thread * ownFloats);
    forwardHead(shape, Memory(shape, own), ofQueries(out), logSumExp + task * shape.queries, ofQueries(q), ofKeys(k),
                ofKeys(v));
  });
}

}  // namespace tah::TAH_ISA
