#include "attention.h"

#include <cmath>

namespace tah::TAH_ISA {
namespace {

/** A task's scratch memory: one head's keys and values packed, and what one tile of scores needs. */
struct Memory {
  float *keys, *values, *queries, *scores, *probabilities;

  static size_t floats(const AttentionShape& shape) {
    const size_t depth = padded(shape.headDim, Scratch::kAlignedFloats);
    return padded(shape.keys, kTileColumns) * depth + shape.keys * padded(shape.headDim, kTileColumns) +
           kQueryBlock * depth + 2 * kQueryBlock * kKeyBlock + 5 * Scratch::kAlignedFloats;
  }

  Memory(const AttentionShape& shape, Scratch scratch)
      : keys(scratch.take(padded(shape.keys, kTileColumns) * shape.headDim)),
        values(scratch.take(shape.keys * padded(shape.headDim, kTileColumns))),
        queries(scratch.take(kQueryBlock * shape.headDim)),
        scores(scratch.take(kQueryBlock * kKeyBlock)),
        probabilities(scratch.take(kQueryBlock * kKeyBlock)) {}
};

/** The softmax of one query over the keys seen so far: probabilities are e^(score − highest) / total. */
struct RunningSoftmax {
  float highestScore = -INFINITY;
  float total = 0;

  /**
   * Turns the first `visible` products q · k of a row into e^(score − highest), and the rest of its `columns` into 0.
   * Returns the factor by which what was summed up for earlier keys shrinks.
   */
  float include(float* row, size_t visible, size_t columns, float scale) {
    Vector tops = splat(-INFINITY);
    for (size_t c = 0; c < visible; c += kLanes) tops = maximum(load(row + c, visible - c, -INFINITY), tops);
    const float top = highest(tops) * scale;
    const float before = highestScore;
    if (top > highestScore) highestScore = top;
    Vector totals{};
    for (size_t c = 0; c < columns; c += kLanes) {
      Vector powers{};
      if (c < visible) powers = exponential(load(row + c, visible - c, -INFINITY) * scale - highestScore);
      totals += powers;
      store(row + c, powers);
    }
    const float shrink = std::exp(before - highestScore);
    total = total * shrink + sum(totals);
    return shrink;
  }
};

void scaleRow(float* row, size_t width, float factor) {
  for (size_t c = 0; c < width; c++) row[c] *= factor;
}

void forwardHead(const AttentionShape& shape, const Memory& memory, Head<float> out, float* logSumExp,
                 Head<const float> q, Head<const float> k, Head<const float> v) {
  const size_t depth = shape.headDim;
  const size_t steps = stepsOf(depth);
  const size_t valueWidth = padded(depth, kTileColumns);
  const float scale = 1 / std::sqrt(float(depth));

  packPanels<kTileColumns, Format>(memory.keys, k.byPosition(0), shape.keys, depth);
  for (size_t key = 0; key < shape.keys; key += kKeyBlock)
    packPanels<kTileColumns>(memory.values + key * valueWidth, v.byChannel(key), depth,
                             smaller(kKeyBlock, shape.keys - key));

  for (size_t query = 0; query < shape.queries; query += kQueryBlock) {
    const size_t rows = smaller(kQueryBlock, shape.queries - query);
    const size_t visibleInBlock = visibleKeys(shape, query + rows - 1, 0, shape.keys);
    RunningSoftmax softmax[kQueryBlock];
    packPanels<kTileRows, Format>(memory.queries, q.byPosition(query), rows, depth);

    for (size_t key = 0; key < visibleInBlock; key += kKeyBlock) {
      const size_t blockKeys = smaller(kKeyBlock, shape.keys - key);
      const size_t columns = smaller(blockKeys, visibleInBlock - key);
      multiplyPanels<Format>(memory.scores, kKeyBlock, {memory.queries, kTileRows * steps},
                     {memory.keys + key * steps, kTileColumns * steps}, rows, columns, steps, false);
      for (size_t i = 0; i < rows; i++) {
        const float shrink = softmax[i].include(memory.scores + i * kKeyBlock,
                                                visibleKeys(shape, query + i, key, columns), columns, scale);
        if (key > 0) scaleRow(out.row(query + i), depth, shrink);
      }
      packPanels<kTileRows>(memory.probabilities, {memory.scores, kKeyBlock, false}, rows, columns);
      multiplyPanels(out.row(query), out.stride, {memory.probabilities, kTileRows * columns},
                     {memory.values + key * valueWidth, kTileColumns * blockKeys}, rows, depth, columns, key > 0);
    }
    for (size_t i = 0; i < rows; i++) {
      scaleRow(out.row(query + i), depth, 1 / softmax[i].total);
      logSumExp[query + i] = softmax[i].highestScore + std::log(softmax[i].total);
    }
  }
}

}  // namespace

/** Dao 2022, alg. 1, one task per head of each sequence. */
void attentionForward(Context& context, float* out, float* logSumExp, const float* q, const float* k, const float* v,
                      const AttentionShape& shape) {
  const size_t memoryFloats = Memory::floats(shape);
  float* memory = context.workspace.floats(memoryFloats * context.pool.threads());
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
    forwardHead(shape, Memory(shape, Scratch(memory + thread * memoryFloats)), ofQueries(out),
                logSumExp + task * shape.queries, ofQueries(q), ofKeys(k), ofKeys(v));
  });
}

}  // namespace tah::TAH_ISA
