#pragma once

#include "aligned-memory.h"
#include "instruction-sets.h"
#include "rotary-table.h"
#include "thread-pool.h"

namespace tah {

enum class Element { real, index };

/** A buffer of a device: float32 or int32 elements. Freed when its memory is released; the object lives on in JS. */
struct Buffer {
  AlignedMemory memory;
  size_t length;
  Element element;
};

/** What the kernels of one JS device share. Used by one JS thread. */
struct Device {
  Device(unsigned threads, const KernelTable& kernelTable) : pool(threads), kernels(kernelTable) {}

  ThreadPool pool;
  Workspace workspace;
  RotaryTable rotary;
  const KernelTable& kernels;

  Context context{pool, workspace};
};

}  // namespace tah
