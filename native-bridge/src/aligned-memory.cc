#include "aligned-memory.h"

#include <algorithm>
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

}  // namespace

AlignedMemory::AlignedMemory(size_t bytes) : bytes_(bytes) {
  data_ = allocateAligned(std::max<size_t>(bytes, 1));  // An empty buffer still needs an address.
  if (data_ == nullptr) throw std::bad_alloc();
}

AlignedMemory::AlignedMemory(AlignedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

AlignedMemory& AlignedMemory::operator=(AlignedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void AlignedMemory::release() {
#if defined(_WIN32)
  _aligned_free(data_);
#else
  std::free(data_);
#endif
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
