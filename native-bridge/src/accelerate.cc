#if defined(TAH_ACCELERATE)

#include "accelerate.h"

#include <Accelerate/Accelerate.h>

#include <algorithm>
#include <cstdlib>

namespace tah {
namespace {

/** Rows per call, whatever the number of threads: so the bits do not depend on it. */
constexpr size_t kRowsPerCall = 256;

void matmul(Context& context, float* out, const float* a, const float* b, const MatmulShape& shape) {
  const size_t calls = (shape.m + kRowsPerCall - 1) / kRowsPerCall;
  context.pool.run(calls, shape.m * shape.n * shape.k / 8, [&](size_t call, unsigned) {
    const size_t row = call * kRowsPerCall;
    const size_t rows = std::min(kRowsPerCall, shape.m - row);
    cblas_sgemm(CblasRowMajor, shape.transposeA ? CblasTrans : CblasNoTrans,
                shape.transposeB ? CblasTrans : CblasNoTrans, int(rows), int(shape.n), int(shape.k), 1,
                a + (shape.transposeA ? row : row * shape.k), int(shape.transposeA ? shape.m : shape.k), b,
                int(shape.transposeB ? shape.k : shape.n), shape.accumulate ? 1 : 0, out + row * shape.n, int(shape.n));
  });
}

}  // namespace

KernelTable withAccelerate(const KernelTable& kernels) {
  // The pool's threads are all that the user has allowed. Read by Accelerate when it is first used.
  setenv("VECLIB_MAXIMUM_THREADS", "1", 0);
  KernelTable table = kernels;
  table.matmul = matmul;
  table.matmulWorkspace = [](const MatmulShape&) -> size_t { return 0; };
  return table;
}

}  // namespace tah

#endif
