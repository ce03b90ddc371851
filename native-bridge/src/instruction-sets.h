#pragma once

#include <vector>

#include "codec/codec.h"
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

/** The codec has fewer than the kernels: it multiplies no matrices. */
struct CodecSet {
  const char* name;
  const CodecTable* codec;
};

/** Those that this processor runs, the fastest first. */
std::vector<CodecSet> codecSets();

}  // namespace tah
