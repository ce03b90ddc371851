#pragma once

// One short vector of floats, as wide as the instruction set that this translation unit is compiled for. With GCC and
// Clang it is a vector-extension type, so arithmetic operators work on it and NEON, AVX2 and AVX-512 all come from the
// same source; other compilers get a struct of lanes. Only compiler built-ins and <cstring> are used: an inline library
// function compiled here for AVX-512 could be the copy that the linker keeps for everyone.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace tah::TAH_ISA {

#if defined(__AVX512F__)
constexpr size_t kLanes = 16;
#elif defined(__AVX2__)
constexpr size_t kLanes = 8;
#else
constexpr size_t kLanes = 4;
#endif

/** A number as a type. */
template <size_t number>
struct Constant {
  static constexpr size_t value = number;
};

// What a tile's registers depend on must not become a call.
#if defined(__GNUC__)
#define TAH_INLINE inline __attribute__((always_inline))
#define TAH_INLINE_BODY __attribute__((always_inline))
#else
#define TAH_INLINE __forceinline
#define TAH_INLINE_BODY
#endif

/** Calls body(Constant<0>), body(Constant<1>), … : a loop that the compiler cannot leave rolled up. */
template <size_t count, class Body>
TAH_INLINE void unrolled(const Body& body) {
  if constexpr (count > 0) {
    unrolled<count - 1>(body);
    body(Constant<count - 1>{});
  }
}

#if defined(__GNUC__)

inline void prefetchToWrite(float* address) { __builtin_prefetch(address, 1); }

typedef float Vector __attribute__((vector_size(sizeof(float) * kLanes)));
typedef uint32_t IntegerVector __attribute__((vector_size(sizeof(uint32_t) * kLanes)));

inline Vector splat(float value) { return Vector{} + value; }
inline Vector maximum(Vector a, Vector b) { return a > b ? a : b; }

/** The lanes of a and b taken alternately: the first half of both, or with `upper` the second half. */
template <bool upper>
inline Vector interleave(Vector a, Vector b) {
  constexpr size_t first = upper ? kLanes / 2 : 0;
#if defined(__clang__)
  Vector result;
  for (size_t lane = 0; lane < kLanes; lane++) result[lane] = (lane % 2 == 0 ? a : b)[first + lane / 2];
  return result;
#else
  IntegerVector choice;
  for (size_t lane = 0; lane < kLanes; lane++) choice[lane] = uint32_t(first + lane / 2 + lane % 2 * kLanes);
  return __builtin_shuffle(a, b, choice);
#endif
}

/**
 * e^x to about 1e-7 relative. x = n·ln 2 + r with |r| ≤ ln 2 / 2; a polynomial gives e^r (coefficients: Cephes expf), and
 * 2^n is put together in the exponent bits. Results below 2^-125 become 0, above the largest float infinity; NaN stays.
 */
inline Vector exponential(Vector x) {
  constexpr float kLowest = -86.6f, kHighest = 88.722839f;
  constexpr float kRound = 12582912.f;  // 1.5 · 2^23: adding it leaves the rounded integer in the low mantissa bits
  const Vector clamped = x > kHighest ? splat(kHighest) : x < kLowest ? splat(kLowest) : x;
  const Vector shifted = clamped * 1.44269504f + kRound;
  const Vector n = shifted - kRound;
  const Vector r = clamped - n * 0.693359375f + n * 2.12194440e-4f;  // ln 2 in two parts, so that n·ln 2 is exact
  Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  // 2^n as 2^(n-1) · 2: n reaches 128, which the exponent field cannot hold.
  IntegerVector bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + (126 << 23);
  Vector scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return x > kHighest ? splat(INFINITY) : x < kLowest ? Vector{} : p * scale * 2.f;
}

/** Lanes below `first` are `below`, the others those of `value`. */
inline Vector lanesFrom(size_t first, Vector value, float below) {
  IntegerVector lane;
  for (size_t i = 0; i < kLanes; i++) lane[i] = uint32_t(i);
  return lane < uint32_t(first) ? splat(below) : value;
}

#else

inline void prefetchToWrite(float*) {}

struct Vector {
  float lane[kLanes];
  float& operator[](size_t i) { return lane[i]; }
  float operator[](size_t i) const { return lane[i]; }
};

template <class Operation>
inline Vector each(Operation operation) {
  Vector result;
  for (size_t i = 0; i < kLanes; i++) result.lane[i] = operation(i);
  return result;
}

inline Vector splat(float value) { return each([&](size_t) { return value; }); }
inline Vector operator+(Vector a, Vector b) { return each([&](size_t i) { return a[i] + b[i]; }); }
inline Vector operator-(Vector a, Vector b) { return each([&](size_t i) { return a[i] - b[i]; }); }
inline Vector operator*(Vector a, Vector b) { return each([&](size_t i) { return a[i] * b[i]; }); }
inline Vector operator/(Vector a, Vector b) { return each([&](size_t i) { return a[i] / b[i]; }); }
inline Vector operator+(Vector a, float b) { return each([&](size_t i) { return a[i] + b; }); }
inline Vector operator-(Vector a, float b) { return each([&](size_t i) { return a[i] - b; }); }
inline Vector operator*(Vector a, float b) { return each([&](size_t i) { return a[i] * b; }); }
inline Vector& operator+=(Vector& a, Vector b) { return a = a + b; }
inline Vector maximum(Vector a, Vector b) { return each([&](size_t i) { return a[i] > b[i] ? a[i] : b[i]; }); }
inline Vector exponential(Vector x) { return each([&](size_t i) { return ::expf(x[i]); }); }

inline Vector lanesFrom(size_t first, Vector value, float below) {
  return each([&](size_t i) { return i < first ? below : value[i]; });
}

template <bool upper>
inline Vector interleave(Vector a, Vector b) {
  constexpr size_t first = upper ? kLanes / 2 : 0;
  return each([&](size_t i) { return i % 2 == 0 ? a[first + i / 2] : b[first + i / 2]; });
}

#endif

inline Vector load(const float* from) {
  Vector result;
  std::memcpy(&result, from, sizeof result);
  return result;
}

inline void store(float* to, Vector value) { std::memcpy(to, &value, sizeof value); }

#if defined(__AVX512F__) && defined(__GNUC__)

inline __mmask16 firstLanes(size_t count) { return __mmask16(count >= kLanes ? 0xffff : (1u << count) - 1); }

/** The first `count` floats; the other lanes are `rest`. */
inline Vector load(const float* from, size_t count, float rest = 0) {
  return _mm512_mask_loadu_ps(splat(rest), firstLanes(count), from);
}

/** Stores the first `count` lanes only. */
inline void store(float* to, Vector value, size_t count) { _mm512_mask_storeu_ps(to, firstLanes(count), value); }

#else

/** The first `count` floats; the other lanes are `rest`. */
inline Vector load(const float* from, size_t count, float rest = 0) {
  if (count >= kLanes) return load(from);
  Vector result = splat(rest);
  std::memcpy(&result, from, count * sizeof(float));
  return result;
}

/** Stores the first `count` lanes only. */
inline void store(float* to, Vector value, size_t count) {
  if (count >= kLanes) store(to, value);
  else std::memcpy(to, &value, count * sizeof(float));
}

#endif

inline float sum(Vector value) {
  float total = 0;
  for (size_t lane = 0; lane < kLanes; lane++) total += value[lane];
  return total;
}

inline float highest(Vector value) {
  float result = value[0];
  for (size_t lane = 1; lane < kLanes; lane++) result = value[lane] > result ? value[lane] : result;
  return result;
}

}  // namespace tah::TAH_ISA
