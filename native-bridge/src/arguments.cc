#include "arguments.h"

#include <new>
#include <stdexcept>

namespace tah {

void check(napi_status status) {
  if (status != napi_ok) throw std::runtime_error("a Node-API call failed with status " + std::to_string(status));
}

void throwInJavaScript(napi_env env) {
  try {
    throw;
  } catch (const std::out_of_range& error) {
    napi_throw_range_error(env, nullptr, error.what());
  } catch (const std::bad_alloc&) {
    napi_throw_error(env, "ERR_NO_MEMORY", "the native device has no room for a kernel's scratch memory");
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  }
}

Arguments::Arguments(napi_env env, napi_callback_info info) : env_(env) {
  check(napi_get_cb_info(env, info, &count_, values_, nullptr, nullptr));
}

napi_value Arguments::next() {
  if (read_ == count_ || read_ == kMost) throw std::runtime_error("too few arguments");
  return values_[read_++];
}

void* Arguments::external() {
  void* data = nullptr;
  check(napi_get_value_external(env_, next(), &data));
  return data;
}

std::unique_ptr<Device>& Arguments::deviceOwner() { return *static_cast<std::unique_ptr<Device>*>(external()); }

Device& Arguments::device() {
  const auto& owner = deviceOwner();
  if (owner == nullptr) throw std::runtime_error("a closed device was used");
  return *owner;
}

Buffer& Arguments::buffer() { return *static_cast<Buffer*>(external()); }

Span<char> Arguments::slice(Buffer& buffer) {
  constexpr size_t kElementBytes = 4;
  if (buffer.memory.data() == nullptr)
    throw std::runtime_error("a freed buffer of " + std::to_string(buffer.length) + " elements was used");
  const size_t offset = size();
  const size_t length = size();
  if (offset > buffer.length || length > buffer.length - offset) throw std::out_of_range("a slice exceeds its buffer");
  return {static_cast<char*>(buffer.memory.data()) + offset * kElementBytes, length * kElementBytes};
}

Span<char> Arguments::bytes() { return slice(buffer()); }

Span<float> Arguments::reals() {
  Buffer& source = buffer();
  if (source.element != Element::real) throw std::out_of_range("a slice of real elements was expected");
  const Span<char> part = slice(source);
  return {reinterpret_cast<float*>(part.data), part.length / sizeof(float)};
}

Span<int32_t> Arguments::indices() {
  Buffer& source = buffer();
  if (source.element != Element::index) throw std::out_of_range("a slice of index elements was expected");
  const Span<char> part = slice(source);
  return {reinterpret_cast<int32_t*>(part.data), part.length / sizeof(int32_t)};
}

Span<char> Arguments::typedArray() {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  check(napi_get_typedarray_info(env_, next(), &type, &length, &data, nullptr, nullptr));
  if (type != napi_float32_array && type != napi_int32_array)
    throw std::runtime_error("a Float32Array or Int32Array was expected");
  return {static_cast<char*>(data), length * 4};
}

template <class Value>
Span<Value> Arguments::arrayOf(napi_typedarray_type expected, const char* complaint) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  check(napi_get_typedarray_info(env_, next(), &type, &length, &data, nullptr, nullptr));
  if (type != expected) throw std::runtime_error(complaint);
  return {static_cast<Value*>(data), length};
}

Span<float> Arguments::floatArray() { return arrayOf<float>(napi_float32_array, "a Float32Array was expected"); }

Span<uint8_t> Arguments::byteArray() { return arrayOf<uint8_t>(napi_uint8_array, "a Uint8Array was expected"); }

double Arguments::number() {
  double value = 0;
  check(napi_get_value_double(env_, next(), &value));
  return value;
}

size_t Arguments::size() {
  const double value = number();
  if (!(value >= 0 && value <= 9007199254740991.0)) throw std::out_of_range("a size is negative or too large");
  return static_cast<size_t>(value);
}

bool Arguments::flag() {
  bool value = false;
  check(napi_get_value_bool(env_, next(), &value));
  return value;
}

std::string Arguments::text() {
  const napi_value value = next();
  size_t length = 0;
  check(napi_get_value_string_utf8(env_, value, nullptr, 0, &length));
  std::string result(length + 1, '\0');
  check(napi_get_value_string_utf8(env_, value, result.data(), result.size(), &length));
  result.resize(length);
  return result;
}

}  // namespace tah
