#include "kernels.h"

namespace tah::TAH_ISA {

const KernelTable table = {
#define TAH_ENTRY(name, parameters) name,
    TAH_KERNELS(TAH_ENTRY) TAH_WORKSPACES(TAH_ENTRY)
#undef TAH_ENTRY
};

}  // namespace tah::TAH_ISA
