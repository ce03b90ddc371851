#pragma once

#include <node_api.h>

#include <memory>
#include <string>

#include "device.h"

namespace tah {

/** A part of a live buffer, as a JS call names it: three arguments, the buffer's handle, offset and length. */
template <class Value>
struct Span {
  Value* data;
  size_t length;
};

/**
 * Reads the arguments of one JS call from left to right. The TypeScript side has checked them; what could corrupt memory
 * (bounds, element types, freed buffers) is checked again here, and throws a C++ exception that `bind` turns into a JS
 * error.
 */
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info);

  napi_env env() const { return env_; }

  /** What a device's handle refers to: empty once the device is closed. */
  std::unique_ptr<Device>& deviceOwner();
  Device& device();
  Buffer& buffer();
  Span<float> reals();
  Span<int32_t> indices();
  /** A slice of either element type, as bytes. */
  Span<char> bytes();
  /** The contents of a Float32Array or Int32Array, as bytes. */
  Span<char> typedArray();
  Span<float> floatArray();
  Span<uint8_t> byteArray();
  double number();
  size_t size();
  bool flag();
  std::string text();

 private:
  static constexpr size_t kMost = 40;

  napi_value next();
  void* external();
  Span<char> slice(Buffer& buffer);
  template <class Value>
  Span<Value> arrayOf(napi_typedarray_type expected, const char* complaint);

  napi_env env_;
  napi_value values_[kMost];
  size_t count_ = kMost;
  size_t read_ = 0;
};

/** Throws std::runtime_error unless the Node-API call succeeded. */
void check(napi_status status);

/** Makes the exception in flight a pending JS exception. Called in a catch block. */
void throwInJavaScript(napi_env env);

/** The Node-API callback of a function that takes its arguments from left to right; a null result is `undefined`. */
template <napi_value (*function)(Arguments&)>
napi_value bind(napi_env env, napi_callback_info info) {
  try {
    Arguments arguments(env, info);
    return function(arguments);
  } catch (...) {
    throwInJavaScript(env);
    return nullptr;
  }
}

/** One exported function of the addon. */
inline napi_property_descriptor exported(const char* name, napi_callback callback) {
  return {name, nullptr, callback, nullptr, nullptr, nullptr, napi_enumerable, nullptr};
}

}  // namespace tah
