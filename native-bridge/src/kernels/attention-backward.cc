#include "attention.h"

#include <cmath>

namespace tah::TAH_ISA {
namespace {

/** A task's scratch memory: one key-value head packed, one block of queries packed, and two tiles. */
struct Memory {
  // Operands "by position" have channels as the product's depth, "by channel" positions.
  float *keysByPosition, *valuesByPosition, *keysByChannel;
  float *queriesByPosition, *dOutByPosition, *queriesByChannel, *dOutByChannel;
  float *probabilities, *dScores, *packedTile;

  static constexpr size_t kPackedTile = padded(kKeyBlock, kTileRows) * kQueryBlock;

  static size_t floats(const AttentionShape& shape) {
    const size_t depth = padded(shape.headDim, kTileColumns);
    return 2 * padded(shape.keys, kTileColumns) * depth + shape.keys * depth + 4 * kQueryBlock * depth +
           2 * kQueryBlock * kKeyBlock + kPackedTile + 10 * Scratch::kAlignedFloats;
  }

  Memory(const AttentionShape& shape, Scratch scratch) {
    const size_t paddedKeys = padded(shape.keys, kTileColumns);
    const size_t paddedDepth = padded(shape.headDim, kTileColumns);
    keysByPosition = scratch.take(paddedKeys * shape.headDim);
    valuesByPosition = scratch.take(paddedKeys * shape.headDim);
    keysByChannel = scratch.take(shape.keys * paddedDepth);
    queriesByPosition = scratch.take(kQueryBlock * shape.headDim);
    dOutByPosition = scratch.take(kQueryBlock * shape.headDim);
    queriesByChannel = scratch.take(kQueryBlock * paddedDepth);
    dOutByChannel = scratch.take(kQueryBlock * paddedDepth);
    probabilities = scratch.take(kQueryBlock * kKeyBlock);
    dScores = scratch.take(kQueryBlock * kKeyBlock);
    packedTile = scratch.take(kPackedTile);
  }
};

/** The tensors of one query head. */
struct QueryHead {
  Head<float> dq;
  Head<const float> dOut, q, out;
  const float* logSumExp;
};

/** The tensors of the key-value head that a group of query heads shares. */
struct KeyHead {
  Head<float> dk, dv;
  Head<const float> k, v;
};

void clear(Head<float> head, size_t positions, size_t width) {
  for (size_t position = 0; position < positions; position++)
    for (size_t c = 0; c < width; c++) head.row(position)[c] = 0;
}

float dot(const float* a, const float* b, size_t length) {
  Vector products{};
  for (size_t c = 0; c < length; c += kLanes) products += load(a + c, length - c) * load(b + c, length - c);
  return sum(products);
}

/**
 * On entry a row of q · k and of dOut · v; on return the probabilities p and ds = p · (dOut · v − dOut · out) · scale,
 * both 0 beyond the visible keys.
 */
void differentiateRow(float* probabilities, float* dScores, size_t visible, size_t columns, float scale,
                      float logSumExp, float outDot) {
  for (size_t c = 0; c < columns; c += kLanes) {
    Vector p{};
    if (c < visible) p = exponential(load(probabilities + c, visible - c, -INFINITY) * scale - logSumExp);
    store(probabilities + c, p);
    store(dScores + c, p * (load(dScores + c, columns - c) - outDot) * scale);
  }
}

void packKeyHead(const AttentionShape& shape, const Memory& memory, const KeyHead& head) {
  packPanels<kTileColumns, Format>(memory.keysByPosition, head.k.byPosition(0), shape.keys, shape.headDim);
  packPanels<kTileColumns>(memory.valuesByPosition, head.v.byPosition(0), shape.keys, shape.headDim);
  const size_t paddedDepth = padded(shape.headDim, kTileColumns);
  for (size_t key = 0; key < shape.keys; key += kKeyBlock)
    packPanels<kTileColumns, Format>(memory.keysByChannel + key * paddedDepth, head.k.byChannel(key), shape.headDim,
                             smaller(kKeyBlock, shape.keys - key));
}

void backwardHead(const AttentionShape& shape, const Memory& memory, const KeyHead& keyHead, const QueryHead& head) {
  const size_t depth = shape.headDim;
  const size_t steps = stepsOf(depth);
  const size_t paddedDepth = padded(depth, kTileColumns);
  const float scale = 1 / std::sqrt(float(depth));
  const auto columnPanels = [](const float* panels, size_t panelDepth) {
    return Panels{panels, kTileColumns * stepsOf(panelDepth)};
  };
  const auto rowPanels = [](const float* panels, size_t panelDepth) { return Panels{panels, kTileRows * stepsOf(panelDepth)}; };

  for (size_t query = 0; query < shape.queries; query += kQueryBlock) {
    const size_t rows = smaller(kQueryBlock, shape.queries - query);
    const size_t visibleInBlock = visibleKeys(shape, query + rows - 1, 0, shape.keys);
    float outDot[kQueryBlock];
    for (size_t i = 0; i < rows; i++) outDot[i] = dot(head.dOut.row(query + i), head.out.row(query + i), depth);
    packPanels<kTileRows, Format>(memory.queriesByPosition, head.q.byPosition(query), rows, depth);
    packPanels<kTileRows>(memory.dOutByPosition, head.dOut.byPosition(query), rows, depth);
    packPanels<kTileColumns, Format>(memory.queriesByChannel, head.q.byChannel(query), depth, rows);
    packPanels<kTileColumns, Format>(memory.dOutByChannel, head.dOut.byChannel(query), depth, rows);

    for (size_t key = 0; key < visibleInBlock; key += kKeyBlock) {
      const size_t blockKeys = smaller(kKeyBlock, shape.keys - key);
      const size_t columns = smaller(blockKeys, visibleInBlock - key);
      multiplyPanels<Format>(memory.probabilities, kKeyBlock, rowPanels(memory.queriesByPosition, depth),
                     columnPanels(memory.keysByPosition + key * steps, depth), rows, columns, steps, false);
      multiplyPanels(memory.dScores, kKeyBlock, {memory.dOutByPosition, kTileRows * depth},
                     {memory.valuesByPosition + key * depth, kTileColumns * depth}, rows, columns, depth, false);
      for (size_t i = 0; i < rows; i++)
        differentiateRow(memory.probabilities + i * kKeyBlock, memory.dScores + i * kKeyBlock,
                         visibleKeys(shape, query + i, key, columns), columns, scale, head.logSumExp[query + i],
                         outDot[i]);

      // dv += pᵀ · dOut
      packPanels<kTileRows, Format>(memory.packedTile, {memory.probabilities, kKeyBlock, true}, columns, rows);
      multiplyPanels<Format>(keyHead.dv.row(key), keyHead.dv.stride, rowPanels(memory.packedTile, rows),
                     columnPanels(memory.dOutByChannel, rows), columns, depth, stepsOf(rows), true);
      // dk += dsᵀ · q
      packPanels<kTileRows, Format>(memory.packedTile, {memory.dScores, kKeyBlock, true}, columns, rows);
      multiplyPanels<Format>(keyHead.dk.row(key), keyHead.dk.stride, rowPanels(memory.packedTile, rows),
                     columnPanels(memory.queriesByChannel, rows), columns, depth, stepsOf(rows), true);
      // dq += ds · k
      packPanels<kTileRows, Format>(memory.packedTile, {memory.dScores, kKeyBlock, false}, rows, columns);
      multiplyPanels<Format>(head.dq.row(query), head.dq.stride, rowPanels(memory.packedTile, columns),
                     columnPanels(memory.keysByChannel + key * paddedDepth, blockKeys), rows, depth, stepsOf(columns), key > 0);
    }
  }
}

}  // namespace

/**
 * Dao 2022, alg. 4, one task per key-value head of each sequence: the query heads of a group follow each other, so the
 * sums in dk and dv have one writer and one order.
 */
void attentionBackward(Context& context, float* dq, float* dk, float* dv, const float* dOut, const float* q,
                       const float* k, const float* v, const float* out, const float* logSumExp,
                       const AttentionShape& shape) {
  const size_t memoryFloats = Memory::floats(shape);
  float* scratch = context.workspace.floats(memoryFloats * context.pool.threads());
  const size_t groupHeads = shape.heads / shape.keyValueHeads;
  const size_t operations = 5 * shape.batch * shape.heads * shape.queries * shape.keys * shape.headDim / kLanes;
  context.pool.run(shape.batch * shape.keyValueHeads, operations, [&](size_t task, unsigned thread) {
    const Memory memory(shape, Scratch(scratch + thread * memoryFloats));
    const size_t sequence = task / shape.keyValueHeads;
    const size_t group = task % shape.keyValueHeads;
    const auto ofKeys = [&](auto* tensor) {
      return headOf(tensor, sequence, shape.keys, group, shape.keyValueHeads, shape.headDim);
    };
    const KeyHead keyHead{ofKeys(dk), ofKeys(dv), ofKeys(k), ofKeys(v)};
    clear(keyHead.dk, shape.keys, shape.headDim);
    clear(keyHead.dv, shape.keys, shape.headDim);
    packKeyHead(shape, memory, keyHead);
    for (size_t head = group * groupHeads; head < (group + 1) * groupHeads; head++) {
      const auto ofQueries = [&](auto* tensor) {
        return headOf(tensor, sequence, shape.queries, head, shape.heads, shape.headDim);
      };
      backwardHead(shape, memory, keyHead,
                   {ofQueries(dq), ofQueries(dOut), ofQueries(q), ofQueries(out),
                    logSumExp + (sequence * shape.heads + head) * shape.queries});
    }
  });
}

}  // namespace tah::TAH_ISA
