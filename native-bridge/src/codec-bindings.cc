// What JavaScript calls of `codec/`: typed arrays in and out, on the calling thread.

#include <cstring>
#include <stdexcept>

#include "bindings.h"

namespace tah {
namespace {

/** The codec of the instruction set at this place of `codecSets`. */
const CodecTable& codecAt(size_t index) {
  static const std::vector<CodecSet> sets = codecSets();
  if (index >= sets.size()) throw std::out_of_range("there are fewer instruction sets");
  return *sets[index].codec;
}

/** Of the JS thread: there is an addon's worth of them in each worker. */
float* scratchFor(size_t columns) {
  thread_local Workspace workspace;
  return workspace.floats(gridScratch(columns));
}

Grid gridOf(Arguments& arguments) {
  Grid grid;
  grid.columns = arguments.size();
  grid.seed = uint32_t(arguments.size());
  grid.isFresh = arguments.flag();
  if (grid.columns == 0 || grid.columns > kMostColumns) throw std::out_of_range("rows have no such number of columns");
  return grid;
}

Quantiser quantiserOf(Arguments& arguments) {
  const bool hasLevels = arguments.flag();
  const size_t bits = arguments.size();
  const bool isKnown = hasLevels ? bits == 1 || bits == 2 || bits == 4 : bits == 2 || bits == 4 || bits == 8;
  if (!isKnown) throw std::out_of_range("there is no such quantiser");
  return {hasLevels, unsigned(bits)};
}

void checkBytes(Span<uint8_t> body, size_t bytes) {
  if (body.length != bytes) throw std::out_of_range("a body of another length was expected");
}

napi_value answer(Arguments& arguments, bool value) {
  napi_value result = nullptr;
  check(napi_get_boolean(arguments.env(), value, &result));
  return result;
}

/** codecSets(): the names of the instruction sets, the fastest first. */
napi_value listCodecSets(Arguments& arguments) {
  napi_value names = nullptr;
  check(napi_create_array(arguments.env(), &names));
  uint32_t index = 0;
  for (const CodecSet& set : codecSets()) {
    napi_value name = nullptr;
    check(napi_create_string_utf8(arguments.env(), set.name, NAPI_AUTO_LENGTH, &name));
    check(napi_set_element(arguments.env(), names, index++, name));
  }
  return names;
}

/** encodeGrid(set, body, values, columns, seed, isFresh, hasLevels, bits): whether all is finite. */
napi_value encodeGrid(Arguments& arguments) {
  const CodecTable& codec = codecAt(arguments.size());
  const auto body = arguments.byteArray();
  const auto values = arguments.floatArray();
  const Grid grid = gridOf(arguments);
  const Quantiser quantiser = quantiserOf(arguments);
  checkBytes(body, gridBytes(values.length, grid.columns, quantiser.bits));
  float* scratch = scratchFor(grid.columns);
  return answer(arguments, codec.encodeGrid(body.data, values.data, values.length, grid, quantiser, scratch));
}

/** decodeGrid(set, values, body, columns, seed, isFresh, hasLevels, bits): whether an encoder may have written it. */
napi_value decodeGrid(Arguments& arguments) {
  const CodecTable& codec = codecAt(arguments.size());
  const auto values = arguments.floatArray();
  const auto body = arguments.byteArray();
  const Grid grid = gridOf(arguments);
  const Quantiser quantiser = quantiserOf(arguments);
  checkBytes(body, gridBytes(values.length, grid.columns, quantiser.bits));
  float* scratch = scratchFor(grid.columns);
  return answer(arguments, codec.decodeGrid(values.data, body.data, values.length, grid, quantiser, scratch));
}

/** encodeBrainFloats(set, body, values, columns, seed, isFresh): whether all is finite. */
napi_value encodeBrainFloats(Arguments& arguments) {
  const CodecTable& codec = codecAt(arguments.size());
  const auto body = arguments.byteArray();
  const auto values = arguments.floatArray();
  checkBytes(body, 2 * values.length);
  return answer(arguments, codec.encodeBrainFloats(body.data, values.data, values.length, gridOf(arguments)));
}

/** decodeBrainFloats(set, values, body): whether all is finite. */
napi_value decodeBrainFloats(Arguments& arguments) {
  const CodecTable& codec = codecAt(arguments.size());
  const auto values = arguments.floatArray();
  const auto body = arguments.byteArray();
  checkBytes(body, 2 * values.length);
  return answer(arguments, codec.decodeBrainFloats(values.data, body.data, values.length));
}

size_t keptOf(Arguments& arguments) {
  const size_t kept = arguments.size();
  if (kept < 1 || kept > kSparseChunk / 2) throw std::out_of_range("no chunk keeps so many numbers");
  return kept;
}

/** encodeSparse(set, body, values, kept): the bytes written, or 0 where not all is finite. */
napi_value encodeSparse(Arguments& arguments) {
  const CodecTable& codec = codecAt(arguments.size());
  const auto body = arguments.byteArray();
  const auto values = arguments.floatArray();
  const size_t kept = keptOf(arguments);
  if (body.length < sparseBytesAtMost(kept, values.length)) throw std::out_of_range("a longer body was expected");
  napi_value bytes = nullptr;
  check(napi_create_double(arguments.env(), double(codec.encodeSparse(body.data, values.data, values.length, kept)), &bytes));
  return bytes;
}

/** decodeSparse(set, values, body, kept): whether an encoder may have written it. */
napi_value decodeSparse(Arguments& arguments) {
  const CodecTable& codec = codecAt(arguments.size());
  const auto values = arguments.floatArray();
  const auto body = arguments.byteArray();
  const size_t kept = keptOf(arguments);
  return answer(arguments, codec.decodeSparse(values.data, body.data, body.length, values.length, kept));
}

/** addArrays(set, sums, others), and subtractArrays likewise: of one length, and not the same. */
template <void (*CodecTable::*operation)(float*, const float*, size_t)>
napi_value elementwise(Arguments& arguments) {
  const CodecTable& codec = codecAt(arguments.size());
  const auto results = arguments.floatArray();
  const auto others = arguments.floatArray();
  if (results.length != others.length) throw std::out_of_range("the two arrays differ in length");
  (codec.*operation)(results.data, others.data, results.length);
  return nullptr;
}

}  // namespace

std::vector<napi_property_descriptor> codecBindings() {
  return {exported("codecSets", bind<listCodecSets>),
          exported("encodeGrid", bind<encodeGrid>),
          exported("decodeGrid", bind<decodeGrid>),
          exported("encodeBrainFloats", bind<encodeBrainFloats>),
          exported("decodeBrainFloats", bind<decodeBrainFloats>),
          exported("encodeSparse", bind<encodeSparse>),
          exported("decodeSparse", bind<decodeSparse>),
          exported("addArrays", bind<elementwise<&CodecTable::addArrays>>),
          exported("subtractArrays", bind<elementwise<&CodecTable::subtractArrays>>)};
}

}  // namespace tah
