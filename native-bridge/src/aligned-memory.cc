#include "aligned-memory.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <utility>
#if defined(_WIN32)
#include <malloc.h>
#endif

namespace tah {
namespace {

constexpr size_t kAlignment = 64;

void* allocateAligned(size_t bytes) {
#if defined(_WIN32)
  return _aligned_malloc(bytes, kAlignment);
#else
  // Unlike aligned_alloc it takes any size: a sanitizer notices the first byte behind it.
  void* data = nullptr;
  return posix_memalign(&data, kAlignment, bytes) == 0 ? data : nullptr;
#endif
}

/**
 * Systems give every large block an address at the same distance from a page's start, and caches put what lies at the same
 * distance into the same sets: an optimizer that goes through four vectors at once would have them push each other out.
 */
size_t shiftOf(size_t bytes) {
  constexpr size_t kLarge = 1 << 20, kShift = 69 * kAlignment, kShifts = 16;
  static std::atomic<size_t> count{0};
  return bytes < kLarge ? 0 : count++ % kShifts * kShift;
}

}  // namespace

AlignedMemory::AlignedMemory(size_t bytes) : bytes_(bytes) {
  const size_t shift = shiftOf(bytes);
  block_ = allocateAligned(std::max<size_t>(shift + bytes, 1));  // An empty buffer still needs an address.
  if (block_ == nullptr) throw std::bad_alloc();
  data_ = static_cast<char*>(block_) + shift;
}

AlignedMemory::AlignedMemory(AlignedMemory&& other) noexcept
    : block_(std::exchange(other.block_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

AlignedMemory& AlignedMemory::operator=(AlignedMemory&& other) noexcept {
  std::swap(block_, other.block_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void AlignedMemory::release() {
#if defined(_WIN32)
  _aligned_free(block_);
#else
  std::free(block_);
#endif
  block_ = nullptr;
  data_ = nullptr;
  bytes_ = 0;
}

void* Workspace::bytes(size_t count) {
  if (memory_.bytes() < count) {
    memory_.release();
    memory_ = AlignedMemory(count);
  }
  return memory_.data();
}

}  // namespace tah
