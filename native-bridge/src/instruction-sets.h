#pragma once

#include <vector>

#include "kernels/kernels.h"

namespace tah {

/** The numbers that matrix products multiply; their sums are floats in either. */
enum class Precision { single, brainFloat };

struct InstructionSet {
  const char* name;
  Precision precision;
  const KernelTable* kernels;
};

/** The instruction sets that this processor runs and that there are kernels for, the fastest first. */
std::vector<InstructionSet> instructionSets();

}  // namespace tah
