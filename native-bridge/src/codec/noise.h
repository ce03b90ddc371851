#pragma once

// `src/compute/codec/noise.ts`, `brain-float.ts` and the bounds of `levels.ts`.

#include <cstdint>
#include <cstring>

namespace tah::TAH_ISA {

constexpr uint32_t kGoldenRatio = 0x9e3779b9;
constexpr uint32_t kSignCounter = 0x80000000;

inline uint32_t mixed(uint32_t bits) {
  bits = (bits ^ bits >> 16) * 0x21f0aaad;
  bits = (bits ^ bits >> 15) * 0xd35a2d97;
  return bits ^ bits >> 15;
}

inline uint32_t rowKey(uint32_t seed, size_t row) { return mixed(seed + (uint32_t(row) + 1) * kGoldenRatio); }
inline uint32_t elementNoise(uint32_t key, uint32_t element) { return mixed(key + element); }
constexpr unsigned kDitherBits = 14;

inline uint32_t ditherOf(uint32_t key, uint32_t element) { return elementNoise(key, element) >> (32 - kDitherBits); }

inline uint32_t signWord(uint32_t key, size_t word) { return mixed(key + kSignCounter + uint32_t(word)); }

inline uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

constexpr uint32_t kMagnitude = 0x7fffffff;
constexpr uint32_t kLargestBrainFloat = 0x7f7f;
constexpr uint32_t kInfinity = 0x7f800000;

inline uint16_t roundedBrainFloat(uint32_t bits, uint32_t addend) {
  const uint32_t magnitude = ((bits & kMagnitude) + addend) >> 16;
  return uint16_t((bits >> 16 & 0x8000) | (magnitude < kLargestBrainFloat ? magnitude : kLargestBrainFloat));
}

inline uint16_t nearestBrainFloat(uint32_t bits) { return roundedBrainFloat(bits, 0x7fff + (bits >> 16 & 1)); }
inline uint16_t brainFloatAbove(uint32_t bits) { return roundedBrainFloat(bits, 0xffff); }
inline float fromBrainFloat(uint16_t bits) { return floatOf(uint32_t(bits) << 16); }

/** 2^-60, 2^48, and 2^50 as bfloat16. */
constexpr uint32_t kSmallestPeak = (127 - 60) << 23;
constexpr uint32_t kLargestPeak = (127 + 48) << 23;
constexpr uint16_t kLargestScale = (127 + 50) << 7;

// Payloads are little endian, as are all processors that these files are compiled for.

inline uint16_t readShort(const uint8_t* from) {
  uint16_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline void writeShort(uint8_t* to, uint16_t value) { std::memcpy(to, &value, sizeof value); }

}  // namespace tah::TAH_ISA
