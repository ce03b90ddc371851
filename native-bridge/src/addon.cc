// The addon's entry point: devices, and the table of everything that JavaScript can call.

#include <memory>
#include <stdexcept>

#include "bindings.h"

namespace tah {
namespace {

/** instructionSets(isBrainFloat): the names of those in that precision that this processor runs, the fastest first. */
napi_value listInstructionSets(Arguments& arguments) {
  napi_value names = nullptr;
  check(napi_create_array(arguments.env(), &names));
  const Precision precision = arguments.flag() ? Precision::brainFloat : Precision::single;
  uint32_t index = 0;
  for (const InstructionSet& set : instructionSets()) {
    if (set.precision != precision) continue;
    napi_value name = nullptr;
    check(napi_create_string_utf8(arguments.env(), set.name, NAPI_AUTO_LENGTH, &name));
    check(napi_set_element(arguments.env(), names, index++, name));
  }
  return names;
}

const KernelTable& kernelsFor(const std::string& instructionSet) {
  for (const InstructionSet& set : instructionSets())
    if (set.name == instructionSet) return *set.kernels;
  throw std::runtime_error("this processor has no kernels for " + instructionSet);
}

void collectDevice(napi_env, void* data, void*) { delete static_cast<std::unique_ptr<Device>*>(data); }

/** createDevice(threads, instructionSet): a handle. */
napi_value createDevice(Arguments& arguments) {
  const unsigned threads = static_cast<unsigned>(arguments.size());
  auto device = std::make_unique<std::unique_ptr<Device>>(
      std::make_unique<Device>(threads, kernelsFor(arguments.text())));
  napi_value handle = nullptr;
  check(napi_create_external(arguments.env(), device.get(), collectDevice, nullptr, &handle));
  device.release();
  return handle;
}

/** closeDevice(device): stops its threads. */
napi_value closeDevice(Arguments& arguments) {
  arguments.deviceOwner().reset();
  return nullptr;
}

}  // namespace

std::vector<napi_property_descriptor> deviceBindings() {
  return {exported("instructionSets", bind<listInstructionSets>), exported("createDevice", bind<createDevice>),
          exported("closeDevice", bind<closeDevice>)};
}

}  // namespace tah

NAPI_MODULE_INIT() {
  try {
    for (const auto& bindings : {tah::deviceBindings(), tah::memoryBindings(), tah::kernelBindings(), tah::codecBindings()})
      tah::check(napi_define_properties(env, exports, bindings.size(), bindings.data()));
  } catch (...) {
    tah::throwInJavaScript(env);
  }
  return exports;
}
