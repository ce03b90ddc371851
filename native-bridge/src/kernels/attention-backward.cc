#include "attention.h"

#include <cmath>

namespace tah::TAH_ISA {
namespace {

/** A task's scratch memory: one key-value head packed, its gradients, one block of queries packed, and two tiles. */
struct Memory {
  // Left operands: by position, and keys by channel for each block of keys.
  float *keys, *values, *keysByChannel;
  // [key][headDim]
  float *dKeys, *dValues;
  // Right operands of a block of queries.
  float *queries, *dOut, *queriesByChannel, *dOutByChannel;
  float *probabilities, *dScores, *packedTile;
  // [headDim][query]
  float* dQueries;

  Memory(const AttentionShape& shape, Scratch& scratch) {
    const size_t paddedKeys = padded(shape.keys, kTileRows);
    const size_t steps = stepsOf<Format>(shape.headDim);
    keys = scratch.take(paddedKeys * headStride<Format>(shape));
    values = scratch.take(paddedKeys * headStride<SinglePrecision>(shape));
    keysByChannel = scratch.take(stepsOf<Format>(shape.keys) * padded(shape.headDim, kTileRows));
    dKeys = scratch.take(shape.keys * shape.headDim);
    dValues = scratch.take(shape.keys * shape.headDim);
    queries = scratch.take(steps * kQueryBlock);
    dOut = scratch.take(shape.headDim * kQueryBlock);
    queriesByChannel = scratch.take(stepsOf<Format>(kQueryBlock) * padded(shape.headDim, kTileColumns));
    dOutByChannel = scratch.take(stepsOf<Format>(kQueryBlock) * padded(shape.headDim, kTileColumns));
    probabilities = scratch.take(kKeyBlock * kQueryBlock);
    dScores = scratch.take(kKeyBlock * kQueryBlock);
    packedTile = scratch.take(kKeyBlock * kQueryBlock);
    dQueries = scratch.take(shape.headDim * kQueryBlock);
  }
};

/** The tensors of one query head. */
struct QueryHead {
  Head<float> dq;
  Head<const float> dOut, q, out;
  const float* logSumExp;
};

float dot(const float* a, const float* b, size_t length) {
  Vector products{};
  for (size_t c = 0; c < length; c += kLanes) products += load(a + c, length - c) * load(b + c, length - c);
  return sum(products);
}

/** What turns a block's scores into their gradients: logΣe^score and dOut · out of each query. */
struct QuerySums {
  float logSumExp[kQueryBlock], outDot[kQueryBlock];

  QuerySums(const QueryHead& head, size_t firstQuery, size_t queries, size_t depth) {
    for (size_t i = 0; i < kQueryBlock; i++) {
      const size_t query = firstQuery + i;
      // Beyond the last query every probability is e^−∞.
      logSumExp[i] = i < queries ? head.logSumExp[query] : INFINITY;
      outDot[i] = i < queries ? dot(head.dOut.row(query), head.out.row(query), depth) : 0;
    }
  }

  /**
   * On entry tiles of k · q and of v · dOut; on return the probabilities p and ds = p · (v · dOut − dOut · out) · scale,
   * both 0 where a key is hidden.
   */
  void differentiate(float* probabilities, float* dScores, size_t firstKey, size_t keys, const Visibility& visible,
                     float scale) const {
    for (size_t j = 0; j < kTileVectors; j++) {
      const Vector shift = load(logSumExp + j * kLanes), subtracted = load(outDot + j * kLanes);
      for (size_t key = 0; key < keys; key++) {
        float* probability = probabilities + key * kQueryBlock + j * kLanes;
        float* dScore = dScores + key * kQueryBlock + j * kLanes;
        const Vector score = visible.mask(load(probability), firstKey + key, j, -INFINITY);
        const Vector p = exponential(score * scale - shift);
        store(probability, p);
        store(dScore, p * (load(dScore) - subtracted) * scale);
      }
    }
  }
};

void packKeyHead(const AttentionShape& shape, const Memory& memory, Head<const float> k, Head<const float> v) {
  const size_t depth = shape.headDim;
  packRows<Format>(memory.keys, headStride<Format>(shape), k.byPosition(0), shape.keys, depth);
  packRows<SinglePrecision>(memory.values, headStride<SinglePrecision>(shape), v.byPosition(0), shape.keys, depth);
  for (size_t key = 0; key < shape.keys; key += kKeyBlock)
    packAlongWidth<Format, kTileRows>(memory.keysByChannel + stepsOf<Format>(key) * padded(depth, kTileRows),
                                      k.byChannel(key), depth, smaller(kKeyBlock, shape.keys - key));
}

/** Writes the query head's dq, and adds its part to dKeys and dValues. */
void backwardHead(const AttentionShape& shape, const Memory& memory, const QueryHead& head) {
  const size_t depth = shape.headDim;
  const size_t steps = stepsOf<Format>(depth);
  const size_t keyStride = headStride<Format>(shape), valueStride = headStride<SinglePrecision>(shape);
  const float scale = 1 / std::sqrt(float(depth));

  for (size_t query = 0; query < shape.queries; query += kQueryBlock) {
    const size_t queries = smaller(kQueryBlock, shape.queries - query);
    const size_t querySteps = stepsOf<Format>(queries);
    const Visibility visible(shape, query, queries);
    const QuerySums sums(head, query, queries, depth);
    packColumns<Format>(memory.queries, head.q.byPosition(query), queries, depth);
    packColumns<SinglePrecision>(memory.dOut, head.dOut.byPosition(query), queries, depth);
    packColumns<Format>(memory.queriesByChannel, head.q.byChannel(query), depth, queries);
    packColumns<Format>(memory.dOutByChannel, head.dOut.byChannel(query), depth, queries);

    for (size_t key = 0; key < visible.keys(); key += kKeyBlock) {
      const size_t blockKeys = smaller(kKeyBlock, shape.keys - key);
      const size_t keys = smaller(blockKeys, visible.keys() - key);
      const auto toTile = [&](float* tile) { return Target{tile, kQueryBlock, keys, kQueryBlock, false}; };
      const auto addTo = [&](float* rows) { return Target{rows + key * depth, depth, keys, depth, true}; };
      multiplyPanels<Format>(toTile(memory.probabilities), rowPanels(memory.keys + key * keyStride, keyStride),
                             columnPanels(memory.queries, steps), steps);
      multiplyPanels<SinglePrecision>(toTile(memory.dScores), rowPanels(memory.values + key * valueStride, valueStride),
                                      columnPanels(memory.dOut, depth), depth);
      sums.differentiate(memory.probabilities, memory.dScores, key, keys, visible, scale);

      // dv += pᵀ · dOut
      multiplyPanels<Format>(addTo(memory.dValues),
                             rowsOf<Format>(memory.probabilities, keys, queries, memory.packedTile),
                             columnPanels(memory.dOutByChannel, querySteps), querySteps);
      // dk += dsᵀ · q
      multiplyPanels<Format>(addTo(memory.dKeys), rowsOf<Format>(memory.dScores, keys, queries, memory.packedTile),
                             columnPanels(memory.queriesByChannel, querySteps), querySteps);
      // dqᵀ += kᵀ · dsᵀ
      const float* keysByChannel = memory.keysByChannel + stepsOf<Format>(key) * padded(depth, kTileRows);
      multiplyPanels<Format>({memory.dQueries, kQueryBlock, depth, kQueryBlock, key > 0},
                             stepPanels(keysByChannel, stepsOf<Format>(blockKeys)),
                             columnsOf<Format>(memory.dScores, keys, memory.packedTile), stepsOf<Format>(keys));
    }
    storeTransposed(head.dq, query, queries, memory.dQueries, depth);
  }
}

void clear(float* rows, size_t length) {
  for (size_t i = 0; i < length; i++) rows[i] = 0;
}

void copyRows(Head<float> head, const float* rows, size_t count, size_t width) {
  for (size_t row = 0; row < count; row++) std::memcpy(head.row(row), rows + row * width, width * sizeof(float));
}

}  // namespace

size_t attentionBackwardWorkspace(const AttentionShape& shape, unsigned threads) {
  Scratch counted;
  Memory(shape, counted);
  return counted.taken() * threads;
}

/**
 * Dao 2022, alg. 4, one task per key-value head of each sequence: the query heads of a group follow each other, so the
 * sums in dk and dv have one writer and one order.
 */
void attentionBackward(Context& context, float* dq, float* dk, float* dv, const float* dOut, const float* q,
                       const float* k, const float* v, const float* out, const float* logSumExp,
                       const AttentionShape& shape) {
  const size_t ownFloats = attentionBackwardWorkspace(shape, 1);
  float* scratch = context.workspace.floats(ownFloats * context.pool.threads());
  const size_t groupHeads = shape.heads / shape.keyValueHeads;
  const size_t operations = 5 * shape.batch * shape.heads * shape.queries * shape.keys * shape.headDim / kLanes;
  context.pool.run(shape.batch * shape.keyValueHeads, operations, [&](size_t task, unsigned thread) {
    Scratch own(scratch + thread * ownFloats);
    const Memory memory(shape, own);
    const size_t sequence = task / shape.keyValueHeads;
    const size_t group = task % shape.keyValueHeads;
    const auto ofKeys = [&](auto* tensor) {
      return headOf(tensor, sequence, shape.keys, group, shape.keyValueHeads, shape.headDim);
    };
    packKeyHead(shape, memory, ofKeys(k), ofKeys(v));
    clear(memory.dKeys, shape.keys * shape.headDim);
    clear(memory.dValues, shape.keys * shape.headDim);
    for (size_t head = group * groupHeads; head < (group + 1) * groupHeads; head++) {
      const auto ofQueries = [&](auto* tensor) {
        return headOf(tensor, sequence, shape.queries, head, shape.heads, shape.headDim);
      };
      backwardHead(shape, memory,
                   {ofQueries(dq), ofQueries(dOut), ofQueries(q), ofQueries(out),
                    logSumExp + (sequence * shape.heads + head) * shape.queries});
    }
    copyRows(ofKeys(dk), memory.dKeys, shape.keys, shape.headDim);
    copyRows(ofKeys(dv), memory.dValues, shape.keys, shape.headDim);
  });
}

}  // namespace tah::TAH_ISA
