#include "codec.h"

namespace tah::TAH_ISA {

const CodecTable codecTable = {
#define TAH_ENTRY(result, name, parameters) name,
    TAH_CODEC(TAH_ENTRY)
#undef TAH_ENTRY
};

}  // namespace tah::TAH_ISA
