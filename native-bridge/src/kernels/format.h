#pragma once

// The number format in which this instruction set multiplies matrices.

#if defined(__AVX512BF16__)
#include "bfloat-panels.h"
#else
#include "panels.h"
#endif

namespace tah::TAH_ISA {

#if defined(__AVX512BF16__)
using Format = BrainFloat;
#else
using Format = SinglePrecision;
#endif

/** How many steps a panel of this depth has. */
constexpr size_t stepsOf(size_t depth) { return panelCount(depth, Format::kDepthPerStep); }

}  // namespace tah::TAH_ISA
