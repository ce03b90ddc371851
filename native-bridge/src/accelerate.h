#pragma once

#include "kernels/kernels.h"

namespace tah {

/** `kernels` with matrix products by Apple's Accelerate, which alone reaches the matrix units of Apple Silicon. */
KernelTable withAccelerate(const KernelTable& kernels);

}  // namespace tah
