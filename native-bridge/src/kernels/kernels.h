#pragma once

// The kernels' C++ signatures: `src/compute/kernels.ts` on plain pointers. Shapes, element types and bounds have been
// checked by the caller. Every kernel file is compiled once per instruction set, in the namespace tah::TAH_ISA, and each
// of these namespaces exports one table of them; `instruction-sets.cc` picks those that the processor can run.

#include <cstddef>
#include <cstdint>

#include "../aligned-memory.h"
#include "../thread-pool.h"

namespace tah {

struct Context {
  ThreadPool& pool;
  Workspace& workspace;
};

struct MatmulShape {
  size_t m, n, k;
  bool transposeA, transposeB, accumulate;
};

struct RowShape {
  size_t rows, width;
};

struct ColumnsShape {
  size_t rows, columns, outWidth, sourceWidth;
};

struct RotaryShape {
  size_t batch, sequence, heads, headDim;
  bool inverse;
};

struct AttentionShape {
  size_t batch, queries, keys, heads, keyValueHeads, headDim;
};

struct AdamOptions {
  double gradientScale, beta1, beta2, momentRate, gradientRate, rootScale, epsilon, decayRate;
};

struct NesterovOptions {
  double learningRate, momentum;
};

// clang-format off
/** The one list of kernels: each (name, parameters) becomes a declaration per instruction set and a table entry. */
#define TAH_KERNELS(KERNEL)                                                                                           \
  KERNEL(fill, (Context&, float* out, size_t length, float value))                                                    \
  KERNEL(add, (Context&, float* out, const float* a, const float* b, size_t length))                                  \
  KERNEL(addScaled, (Context&, float* out, const float* x, size_t length, float factor))                              \
  KERNEL(addColumns, (Context&, float* out, const float* source, const ColumnsShape&))                                \
  KERNEL(squaredNorm, (Context&, float* out, const float* x, size_t length))                                          \
  KERNEL(swigluForward, (Context&, float* out, const float* gate, const float* up, size_t length))                    \
  KERNEL(swigluBackward, (Context&, float* dGate, float* dUp, float* activated, const float* dOut, const float* gate, \
                          const float* up, size_t length))                                                            \
  KERNEL(matmul, (Context&, float* out, const float* a, const float* b, const MatmulShape&))                          \
  KERNEL(embeddingForward, (Context&, float* out, const float* table, const int32_t* tokens, RowShape))               \
  KERNEL(embeddingBackward, (Context&, float* dTable, const float* dOut, const int32_t* tokens, RowShape))            \
  KERNEL(rmsNormForward, (Context&, float* out, float* inverseRms, const float* x, const float* gain, RowShape,       \
                          double epsilon))                                                                            \
  KERNEL(rmsNormBackward, (Context&, float* dx, float* dGain, const float* dOut, const float* x, const float* gain,   \
                           const float* inverseRms, RowShape))                                                        \
  KERNEL(rotary, (Context&, float* x, const float* cosines, const float* sines, const RotaryShape&))                  \
  KERNEL(attentionForward, (Context&, float* out, float* logSumExp, const float* q, const float* k, const float* v,   \
                            const AttentionShape&))                                                                   \
  KERNEL(attentionBackward, (Context&, float* dq, float* dk, float* dv, const float* dOut, const float* q,            \
                             const float* k, const float* v, const float* out, const float* logSumExp,                \
                             const AttentionShape&))                                                                  \
  KERNEL(crossEntropy, (Context&, float* losses, float* logits, const int32_t* targets, RowShape,                     \
                        float gradientScale))                                                                         \
  KERNEL(adam, (Context&, float* parameters, const float* gradients, float* firstMoment, float* secondMoment,         \
                size_t length, const AdamOptions&))                                                                   \
  KERNEL(outerNesterov, (Context&, float* parameters, float* momentumBuffer, const float* pseudoGradient,             \
                         size_t length, const NesterovOptions&))

/** How many floats of the workspace a kernel takes. */
#define TAH_WORKSPACES(WORKSPACE)                                                    \
  WORKSPACE(matmulWorkspace, (const MatmulShape&))                                   \
  WORKSPACE(attentionForwardWorkspace, (const AttentionShape&, unsigned threads))    \
  WORKSPACE(attentionBackwardWorkspace, (const AttentionShape&, unsigned threads))
// clang-format on

struct KernelTable {
#define TAH_ENTRY(name, parameters) void(*name) parameters;
  TAH_KERNELS(TAH_ENTRY)
#undef TAH_ENTRY
#define TAH_ENTRY(name, parameters) size_t(*name) parameters;
  TAH_WORKSPACES(TAH_ENTRY)
#undef TAH_ENTRY
};

#if defined(TAH_ISA)
namespace TAH_ISA {
#define TAH_DECLARATION(name, parameters) void name parameters;
TAH_KERNELS(TAH_DECLARATION)
#undef TAH_DECLARATION
#define TAH_DECLARATION(name, parameters) size_t name parameters;
TAH_WORKSPACES(TAH_DECLARATION)
#undef TAH_DECLARATION
}  // namespace TAH_ISA
#endif

namespace generic {
extern const KernelTable table;
}
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {
extern const KernelTable table;
}
/** As avx512, with matrix products in bfloat16. */
namespace avx512bf16 {
extern const KernelTable table;
}

}  // namespace tah
