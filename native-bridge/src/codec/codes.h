#pragma once

// Codes of few bits, packed into bytes from the lowest bit on, and the numbers that they stand for.

#include "codec.h"
#include "quantiser.h"

namespace tah::TAH_ISA {

/** `codes`: a byte each, readable up to a multiple of eight of them. Bits behind the last one are zero. */
template <unsigned bits>
inline void pack(uint8_t* packed, uint8_t* codes, size_t count) {
  if constexpr (bits == 8) {
    std::memcpy(packed, codes, count);
  } else {
    const size_t bytes = codeBytes(count, bits);
    for (size_t i = count; i % 8 != 0; i++) codes[i] = 0;
    for (size_t byte = 0; byte < bytes; byte += bits) {
      uint64_t eight;
      std::memcpy(&eight, codes + byte * 8 / bits, sizeof eight);
      if constexpr (bits == 4) {
        eight = (eight | eight >> 4) & 0x00ff00ff00ff00ff;
        eight = (eight | eight >> 8) & 0x0000ffff0000ffff;
        eight = eight | eight >> 16;
      } else if constexpr (bits == 2) {
        eight = (eight | eight >> 6) & 0x000f000f000f000f;
        eight = (eight | eight >> 12) & 0x000000ff000000ff;
        eight = eight | eight >> 24;
      } else {
        eight = eight * 0x0102040810204080 >> 56;
      }
      std::memcpy(packed + byte, &eight, bytes - byte < bits ? bytes - byte : bits);
    }
  }
}

/** What each byte of codes stands for: 8 / bits numbers. */
template <unsigned bits, bool hasLevels>
struct ByteTable {
  static constexpr unsigned perByte = 8 / bits;
  float numbers[256][perByte];

  ByteTable() {
    for (unsigned byte = 0; byte < 256; byte++)
      for (unsigned i = 0; i < perByte; i++) numbers[byte][i] = number(byte >> (i * bits) & ((1u << bits) - 1));
  }

  static float number(unsigned code) {
    constexpr unsigned half = 1u << (bits - 1);
    if constexpr (hasLevels)
      return code < half ? -Levels<bits>::magnitudes[half - 1 - code] : Levels<bits>::magnitudes[code - half];
    else
      return float(int(code) - int(half));
  }
};

/** Writes whole bytes' numbers, up to seven more than `count`. */
template <unsigned bits, bool hasLevels>
inline void unpack(float* __restrict values, const uint8_t* __restrict packed, size_t count) {
  if constexpr (bits == 8) {
    for (size_t i = 0; i < count; i++) values[i] = float(int32_t(packed[i]) - 128);
  } else {
    static const ByteTable<bits, hasLevels> table;
    const size_t bytes = codeBytes(count, bits);
    for (size_t byte = 0; byte < bytes; byte++)
      std::memcpy(values + byte * table.perByte, table.numbers[packed[byte]], sizeof table.numbers[0]);
  }
}

}  // namespace tah::TAH_ISA
