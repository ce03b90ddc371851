#include "bindings.h"

#include <stdexcept>

// One binding per kernel. Each reads its arguments in the order of `src/compute/kernels.ts` after the device, a slice as
// three of them, then calls the kernel of the device's instruction set.

namespace tah {
namespace {

template <void (*kernel)(Device&, Arguments&)>
napi_value run(Arguments& arguments) {
  kernel(arguments.device(), arguments);
  return nullptr;
}

RowShape rowShape(Arguments& arguments) {
  const size_t rows = arguments.size();
  return {rows, arguments.size()};
}

MatmulShape matmulShape(Arguments& arguments) {
  MatmulShape shape;
  for (size_t* size : {&shape.m, &shape.n, &shape.k}) *size = arguments.size();
  for (bool* flag : {&shape.transposeA, &shape.transposeB, &shape.accumulate}) *flag = arguments.flag();
  return shape;
}

AttentionShape attentionShape(Arguments& arguments) {
  AttentionShape shape;
  for (size_t* field : {&shape.batch, &shape.queries, &shape.keys, &shape.heads, &shape.keyValueHeads, &shape.headDim})
    *field = arguments.size();
  return shape;
}

/** Token ids address memory, so the kernels rely on this. */
void checkTokens(Span<int32_t> tokens, size_t vocabulary) {
  for (size_t i = 0; i < tokens.length; i++)
    if (tokens.data[i] < 0 || static_cast<size_t>(tokens.data[i]) >= vocabulary)
      throw std::out_of_range("token " + std::to_string(tokens.data[i]) + " is outside a vocabulary of " +
                              std::to_string(vocabulary));
}

void fill(Device& device, Arguments& arguments) {
  const auto out = arguments.reals();
  device.kernels.fill(device.context, out.data, out.length, float(arguments.number()));
}

void add(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), a = arguments.reals(), b = arguments.reals();
  device.kernels.add(device.context, out.data, a.data, b.data, out.length);
}

void addScaled(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), x = arguments.reals();
  device.kernels.addScaled(device.context, out.data, x.data, out.length, float(arguments.number()));
}

void addColumns(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), source = arguments.reals();
  ColumnsShape shape;
  for (size_t* size : {&shape.rows, &shape.columns, &shape.outWidth, &shape.sourceWidth}) *size = arguments.size();
  device.kernels.addColumns(device.context, out.data, source.data, shape);
}

void squaredNorm(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), x = arguments.reals();
  device.kernels.squaredNorm(device.context, out.data, x.data, x.length);
}

void swigluForward(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), gate = arguments.reals(), up = arguments.reals();
  device.kernels.swigluForward(device.context, out.data, gate.data, up.data, out.length);
}

void swigluBackward(Device& device, Arguments& arguments) {
  const auto dGate = arguments.reals(), dUp = arguments.reals(), activated = arguments.reals();
  const auto dOut = arguments.reals(), gate = arguments.reals(), up = arguments.reals();
  device.kernels.swigluBackward(device.context, dGate.data, dUp.data, activated.data, dOut.data, gate.data, up.data,
                                dOut.length);
}

void matmul(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), a = arguments.reals(), b = arguments.reals();
  device.kernels.matmul(device.context, out.data, a.data, b.data, matmulShape(arguments));
}

void embeddingForward(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), table = arguments.reals();
  const auto tokens = arguments.indices();
  const RowShape shape = rowShape(arguments);
  checkTokens(tokens, table.length / shape.width);
  device.kernels.embeddingForward(device.context, out.data, table.data, tokens.data, shape);
}

void embeddingBackward(Device& device, Arguments& arguments) {
  const auto dTable = arguments.reals(), dOut = arguments.reals();
  const auto tokens = arguments.indices();
  const RowShape shape = rowShape(arguments);
  checkTokens(tokens, dTable.length / shape.width);
  device.kernels.embeddingBackward(device.context, dTable.data, dOut.data, tokens.data, shape);
}

void rmsNormForward(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), inverseRms = arguments.reals();
  const auto x = arguments.reals(), gain = arguments.reals();
  const RowShape shape = rowShape(arguments);
  device.kernels.rmsNormForward(device.context, out.data, inverseRms.data, x.data, gain.data, shape, arguments.number());
}

void rmsNormBackward(Device& device, Arguments& arguments) {
  const auto dx = arguments.reals(), dGain = arguments.reals(), dOut = arguments.reals();
  const auto x = arguments.reals(), gain = arguments.reals(), inverseRms = arguments.reals();
  device.kernels.rmsNormBackward(device.context, dx.data, dGain.data, dOut.data, x.data, gain.data, inverseRms.data,
                                 rowShape(arguments));
}

void rotary(Device& device, Arguments& arguments) {
  const auto x = arguments.reals();
  RotaryShape shape;
  for (size_t* field : {&shape.batch, &shape.sequence, &shape.heads, &shape.headDim}) *field = arguments.size();
  const double base = arguments.number();
  const size_t positionOffset = arguments.size();
  shape.inverse = arguments.flag();
  const RotaryTable::Rows rows = device.rotary.rows(base, shape.headDim, positionOffset, shape.sequence);
  device.kernels.rotary(device.context, x.data, rows.cosines, rows.sines, shape);
}

void attentionForward(Device& device, Arguments& arguments) {
  const auto out = arguments.reals(), logSumExp = arguments.reals();
  const auto q = arguments.reals(), k = arguments.reals(), v = arguments.reals();
  device.kernels.attentionForward(device.context, out.data, logSumExp.data, q.data, k.data, v.data, attentionShape(arguments));
}

void attentionBackward(Device& device, Arguments& arguments) {
  const auto dq = arguments.reals(), dk = arguments.reals(), dv = arguments.reals(), dOut = arguments.reals();
  const auto q = arguments.reals(), k = arguments.reals(), v = arguments.reals();
  const auto out = arguments.reals(), logSumExp = arguments.reals();
  device.kernels.attentionBackward(device.context, dq.data, dk.data, dv.data, dOut.data, q.data, k.data, v.data, out.data,
                                   logSumExp.data, attentionShape(arguments));
}

void crossEntropy(Device& device, Arguments& arguments) {
  const auto losses = arguments.reals(), logits = arguments.reals();
  const auto targets = arguments.indices();
  const RowShape shape = rowShape(arguments);
  checkTokens(targets, shape.width);
  device.kernels.crossEntropy(device.context, losses.data, logits.data, targets.data, shape, float(arguments.number()));
}

void adam(Device& device, Arguments& arguments) {
  const auto parameters = arguments.reals(), gradients = arguments.reals();
  const auto firstMoment = arguments.reals(), secondMoment = arguments.reals();
  AdamOptions options;
  for (double* field : {&options.gradientScale, &options.beta1, &options.beta2, &options.momentRate, &options.gradientRate,
                        &options.rootScale, &options.epsilon, &options.decayRate})
    *field = arguments.number();
  device.kernels.adam(device.context, parameters.data, gradients.data, firstMoment.data, secondMoment.data, parameters.length,
                      options);
}

void outerNesterov(Device& device, Arguments& arguments) {
  const auto parameters = arguments.reals(), momentumBuffer = arguments.reals(), pseudoGradient = arguments.reals();
  NesterovOptions options;
  options.learningRate = arguments.number();
  options.momentum = arguments.number();
  device.kernels.outerNesterov(device.context, parameters.data, momentumBuffer.data, pseudoGradient.data, parameters.length,
                               options);
}

napi_value bytesOf(Arguments& arguments, size_t floats) {
  napi_value bytes = nullptr;
  check(napi_create_double(arguments.env(), double(floats * sizeof(float)), &bytes));
  return bytes;
}

/** matmulWorkspace(device, …shape): bytes; so the other two. */
napi_value matmulWorkspace(Arguments& arguments) {
  const Device& device = arguments.device();
  return bytesOf(arguments, device.kernels.matmulWorkspace(matmulShape(arguments)));
}

napi_value attentionForwardWorkspace(Arguments& arguments) {
  const Device& device = arguments.device();
  return bytesOf(arguments, device.kernels.attentionForwardWorkspace(attentionShape(arguments), device.pool.threads()));
}

napi_value attentionBackwardWorkspace(Arguments& arguments) {
  const Device& device = arguments.device();
  return bytesOf(arguments, device.kernels.attentionBackwardWorkspace(attentionShape(arguments), device.pool.threads()));
}

/** workspaceHeld(device): bytes that kernels have taken so far. */
napi_value workspaceHeld(Arguments& arguments) {
  return bytesOf(arguments, arguments.device().workspace.bytesHeld() / sizeof(float));
}

}  // namespace

std::vector<napi_property_descriptor> kernelBindings() {
  return {exported("fill", bind<run<fill>>),
          exported("add", bind<run<add>>),
          exported("addScaled", bind<run<addScaled>>),
          exported("addColumns", bind<run<addColumns>>),
          exported("squaredNorm", bind<run<squaredNorm>>),
          exported("swigluForward", bind<run<swigluForward>>),
          exported("swigluBackward", bind<run<swigluBackward>>),
          exported("matmul", bind<run<matmul>>),
          exported("embeddingForward", bind<run<embeddingForward>>),
          exported("embeddingBackward", bind<run<embeddingBackward>>),
          exported("rmsNormForward", bind<run<rmsNormForward>>),
          exported("rmsNormBackward", bind<run<rmsNormBackward>>),
          exported("rotary", bind<run<rotary>>),
          exported("attentionForward", bind<run<attentionForward>>),
          exported("attentionBackward", bind<run<attentionBackward>>),
          exported("crossEntropy", bind<run<crossEntropy>>),
          exported("adam", bind<run<adam>>),
          exported("outerNesterov", bind<run<outerNesterov>>),
          exported("matmulWorkspace", bind<matmulWorkspace>),
          exported("attentionForwardWorkspace", bind<attentionForwardWorkspace>),
          exported("attentionBackwardWorkspace", bind<attentionBackwardWorkspace>),
          exported("workspaceHeld", bind<workspaceHeld>)};
}

}  // namespace tah
