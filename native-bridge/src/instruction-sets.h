#pragma once

#include <vector>

#include "kernels/kernels.h"

namespace tah {

struct InstructionSet {
  const char* name;
  const KernelTable* kernels;
};

/** The instruction sets that this processor runs and that there are kernels for, the fastest first. */
std::vector<InstructionSet> instructionSets();

}  // namespace tah
