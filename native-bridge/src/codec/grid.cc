// Rows of quantised numbers: `src/compute/codec/portable/grid.ts`.

#include "codec.h"
#include "codes.h"
#include "quantiser.h"
#include "rotation.h"

namespace tah::TAH_ISA {
namespace {

/** Calls body(row, from, count, codes) for each row, until it returns false. `codes`: where its codes begin in the body. */
template <class Body>
inline bool forGridRows(size_t length, size_t columns, unsigned bits, const Body& body) {
  const size_t rows = (length + columns - 1) / columns;
  for (size_t row = 0; row < rows; row++) {
    const size_t from = row * columns;
    const size_t count = length - from < columns ? length - from : columns;
    if (!body(row, from, count, rows * kScaleBytes + row * codeBytes(columns, bits))) return false;
  }
  return true;
}

template <unsigned bits, bool hasLevels, bool isFresh>
bool encode(uint8_t* body, const float* values, size_t length, const Grid& grid, float* scratch) {
  const size_t room = paddedColumns(grid.columns);
  float* levels = scratch + room;
  uint8_t* codes = reinterpret_cast<uint8_t*>(scratch + 2 * room);
  return forGridRows(length, grid.columns, bits, [&](size_t row, size_t from, size_t count, size_t codesFrom) {
    const uint32_t key = rowKey(grid.seed, isFresh ? row : 0);
    copyWithSigns(scratch, values + from, count, key, 1);
    uint32_t peak = 0;
    for (size_t at = 0; at < count;) {
      const size_t block = blockLength(count - at);
      hadamard(scratch + at, block);
      const uint32_t blockPeak = scaledPeak(scratch + at, block, blockFactor(block));
      peak = blockPeak > peak ? blockPeak : peak;
      at += block;
    }
    if (peak > kLargestPeak) return false;
    if (peak < kSmallestPeak) {
      writeShort(body + row * kScaleBytes, 0);
      std::memset(body + codesFrom, 0, codeBytes(count, bits));
      return true;
    }
    for (size_t i = count; i < paddedColumns(count); i++) scratch[i] = 0;
    uint16_t scale;
    if constexpr (hasLevels)
      scale = quantiseToLevels<bits>(codes, levels, scratch, count);
    else
      scale = quantiseUniform<bits, isFresh>(codes, scratch, count, peak, key);
    writeShort(body + row * kScaleBytes, scale);
    pack<bits>(body + codesFrom, codes, count);
    return true;
  });
}

template <unsigned bits, bool hasLevels, bool isFresh>
bool decode(float* values, const uint8_t* body, size_t length, const Grid& grid, float* scratch) {
  return forGridRows(length, grid.columns, bits, [&](size_t row, size_t from, size_t count, size_t codesFrom) {
    const uint16_t scaleBits = readShort(body + row * kScaleBytes);
    if (scaleBits > kLargestScale) return false;
    if (scaleBits == 0) {
      std::memset(values + from, 0, count * sizeof(float));
      return true;
    }
    const float scale = fromBrainFloat(scaleBits);
    const uint32_t key = rowKey(grid.seed, isFresh ? row : 0);
    unpack<bits, hasLevels>(scratch, body + codesFrom, count);
    if constexpr (isFresh && !hasLevels) removeDither(scratch, count, key);
    float factor = 1;
    for (size_t at = 0; at < count;) {
      const size_t block = blockLength(count - at);
      hadamard(scratch + at, block);
      const float blockScale = scale * blockFactor(block);
      if (block == count)
        factor = blockScale;
      else
        for (size_t i = at; i < at + block; i++) scratch[i] *= blockScale;
      at += block;
    }
    copyWithSigns(values + from, scratch, count, key, factor);
    return true;
  });
}

/** Calls body(Constant<bits>, Constant<hasLevels>): false for a quantiser that there is not. */
template <class Body>
inline bool withQuantiser(const Quantiser& quantiser, const Body& body) {
  if (quantiser.hasLevels) {
    if (quantiser.bits == 1) return body(Constant<1>{}, Constant<true>{});
    if (quantiser.bits == 2) return body(Constant<2>{}, Constant<true>{});
    if (quantiser.bits == 4) return body(Constant<4>{}, Constant<true>{});
    return false;
  }
  if (quantiser.bits == 2) return body(Constant<2>{}, Constant<false>{});
  if (quantiser.bits == 4) return body(Constant<4>{}, Constant<false>{});
  if (quantiser.bits == 8) return body(Constant<8>{}, Constant<false>{});
  return false;
}

}  // namespace

bool encodeGrid(uint8_t* body, const float* values, size_t length, Grid grid, Quantiser quantiser, float* scratch) {
  return withQuantiser(quantiser, [&](auto bits, auto hasLevels) {
    constexpr unsigned width = decltype(bits)::value;
    constexpr bool isByLevels = decltype(hasLevels)::value != 0;
    return grid.isFresh ? encode<width, isByLevels, true>(body, values, length, grid, scratch)
                        : encode<width, isByLevels, false>(body, values, length, grid, scratch);
  });
}

bool decodeGrid(float* values, const uint8_t* body, size_t length, Grid grid, Quantiser quantiser, float* scratch) {
  return withQuantiser(quantiser, [&](auto bits, auto hasLevels) {
    constexpr unsigned width = decltype(bits)::value;
    constexpr bool isByLevels = decltype(hasLevels)::value != 0;
    return grid.isFresh ? decode<width, isByLevels, true>(values, body, length, grid, scratch)
                        : decode<width, isByLevels, false>(values, body, length, grid, scratch);
  });
}

bool encodeBrainFloats(uint8_t* body, const float* values, size_t length, Grid grid) {
  return forGridRows(length, grid.columns, 16, [&](size_t row, size_t from, size_t count, size_t) {
    const uint32_t key = rowKey(grid.seed, row);
    const float* source = values + from;
    uint8_t* target = body + 2 * from;
    uint32_t peak = 0;
    for (size_t i = 0; i < count; i++) {
      const uint32_t bits = bitsOf(source[i]);
      peak = (bits & kMagnitude) > peak ? bits & kMagnitude : peak;
      const uint32_t addend = grid.isFresh ? elementNoise(key, uint32_t(i)) >> 16 : 0x7fff + (bits >> 16 & 1);
      writeShort(target + 2 * i, roundedBrainFloat(bits, addend));
    }
    return peak < kInfinity;
  });
}

bool decodeBrainFloats(float* values, const uint8_t* body, size_t length) {
  uint32_t peak = 0;
  for (size_t i = 0; i < length; i++) {
    const uint32_t bits = uint32_t(readShort(body + 2 * i)) << 16;
    peak = (bits & kMagnitude) > peak ? bits & kMagnitude : peak;
    values[i] = floatOf(bits);
  }
  return peak < kInfinity;
}

void addArrays(float* __restrict sums, const float* __restrict others, size_t length) {
  for (size_t i = 0; i < length; i++) sums[i] += others[i];
}

void subtractArrays(float* __restrict differences, const float* __restrict others, size_t length) {
  for (size_t i = 0; i < length; i++) differences[i] -= others[i];
}

}  // namespace tah::TAH_ISA
