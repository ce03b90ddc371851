#pragma once

#include <cstddef>

namespace tah {

/** Memory that starts on a 64-byte boundary: a cache line, and the widest vector. */
class AlignedMemory {
 public:
  AlignedMemory() = default;
  /** Throws std::bad_alloc when there is no room. The contents are undefined. */
  explicit AlignedMemory(size_t bytes);
  ~AlignedMemory() { release(); }
  AlignedMemory(AlignedMemory&& other) noexcept;
  AlignedMemory& operator=(AlignedMemory&& other) noexcept;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  void release();

 private:
  /** What was allocated; `data_` lies in it. */
  void* block_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/** Scratch memory that kernels share one after the other; it grows to the largest request. */
class Workspace {
 public:
  /** Room for `count` elements with undefined contents, valid until the next call. Throws std::bad_alloc. */
  float* floats(size_t count) { return static_cast<float*>(bytes(count * sizeof(float))); }
  double* doubles(size_t count) { return static_cast<double*>(bytes(count * sizeof(double))); }
  size_t bytesHeld() const { return memory_.bytes(); }

 private:
  void* bytes(size_t count);

  AlignedMemory memory_;
};

}  // namespace tah
