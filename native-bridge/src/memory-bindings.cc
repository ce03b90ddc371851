#include "bindings.h"

#include <cstring>
#include <new>
#include <stdexcept>

namespace tah {
namespace {

void adjustCollectedMemory(napi_env env, int64_t bytes) {
  int64_t total = 0;
  napi_adjust_external_memory(env, bytes, &total);
}

void collectBuffer(napi_env env, void* data, void*) {
  Buffer* buffer = static_cast<Buffer*>(data);
  adjustCollectedMemory(env, -static_cast<int64_t>(buffer->memory.bytes()));
  delete buffer;
}

/** allocate(length, isIndex): a handle to a zero-filled buffer, or undefined when there is no room. */
napi_value allocate(Arguments& arguments) {
  const size_t length = arguments.size();
  const Element element = arguments.flag() ? Element::index : Element::real;
  Buffer* buffer = nullptr;
  try {
    // Writing the zeros makes the system provide the memory now, where a lack of it can still be reported.
    AlignedMemory memory(length * sizeof(float));
    std::memset(memory.data(), 0, memory.bytes());
    buffer = new Buffer{std::move(memory), length, element};
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  napi_value handle = nullptr;
  if (napi_create_external(arguments.env(), buffer, collectBuffer, nullptr, &handle) != napi_ok) {
    delete buffer;
    throw std::runtime_error("the buffer's handle could not be created");
  }
  adjustCollectedMemory(arguments.env(), static_cast<int64_t>(buffer->memory.bytes()));
  return handle;
}

/** free(buffer) */
napi_value free(Arguments& arguments) {
  Buffer& buffer = arguments.buffer();
  adjustCollectedMemory(arguments.env(), -static_cast<int64_t>(buffer.memory.bytes()));
  buffer.memory.release();
  return nullptr;
}

void copyBytes(Span<char> to, Span<char> from) {
  if (to.length != from.length) throw std::out_of_range("the two sides of a copy differ in length");
  std::memcpy(to.data, from.data, from.length);
}

/** upload(…target, typedArray) */
napi_value upload(Arguments& arguments) {
  const Span<char> target = arguments.bytes();
  copyBytes(target, arguments.typedArray());
  return nullptr;
}

/** download(…source, typedArray) */
napi_value download(Arguments& arguments) {
  const Span<char> source = arguments.bytes();
  copyBytes(arguments.typedArray(), source);
  return nullptr;
}

/** copy(…out, …source) */
napi_value copy(Arguments& arguments) {
  const Span<char> out = arguments.bytes();
  copyBytes(out, arguments.bytes());
  return nullptr;
}

}  // namespace

std::vector<napi_property_descriptor> memoryBindings() {
  return {exported("allocate", bind<allocate>), exported("free", bind<free>), exported("upload", bind<upload>),
          exported("download", bind<download>), exported("copy", bind<copy>)};
}

}  // namespace tah
