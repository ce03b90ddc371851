#pragma once

// The number format in which this instruction set multiplies matrices.

#if defined(__AVX512BF16__)
#include "brain-float.h"
#endif
#include "packing.h"
#include "single-precision.h"

namespace tah::TAH_ISA {

#if defined(__AVX512BF16__)
using Format = BrainFloat;
#else
using Format = SinglePrecision;
#endif

}  // namespace tah::TAH_ISA
