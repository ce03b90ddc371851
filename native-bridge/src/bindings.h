#pragma once

#include <vector>

#include "arguments.h"

namespace tah {

std::vector<napi_property_descriptor> memoryBindings();
std::vector<napi_property_descriptor> kernelBindings();
std::vector<napi_property_descriptor> codecBindings();

}  // namespace tah
