#include "format.h"
#include "kernels.h"
#include "range.h"

namespace tah::TAH_ISA {
namespace {

// The product is cut so that a block of b (kBlockColumns · kSteps elements) stays in the second-level cache while a block
// of a passes by, and so that the packed parts of a and b fit a few MiB.
constexpr size_t kSteps = 512;
constexpr size_t kDepth = kSteps * Format::kDepthPerStep;
constexpr size_t kBlockRows = 8 * kTileRows;
constexpr size_t kBlockColumns = 256;
constexpr size_t kPackedRows = 2048 / kBlockRows * kBlockRows;
constexpr size_t kPackedColumns = 4096;
static_assert(kBlockColumns % kTileColumns == 0 && kPackedColumns % kBlockColumns == 0);

/** One part of the product: its operands packed, then multiplied, each step by all threads. */
struct Part {
  size_t rows, columns, depth;
  float* packedA;
  float* packedB;

  size_t steps() const { return stepsOf(depth); }
};

void pack(Context& context, const Part& part, const Source& a, const Source& b) {
  const size_t panelsOfA = panelCount(part.rows, kBlockRows);
  const size_t panelsOfB = panelCount(part.columns, kBlockColumns);
  context.pool.run(panelsOfA + panelsOfB, (part.rows + part.columns) * part.depth, [&](size_t task, unsigned) {
    if (task < panelsOfA) {
      const size_t row = task * kBlockRows;
      packPanels<kTileRows, Format>(part.packedA + row * part.steps(), a.at(row, 0), smaller(kBlockRows, part.rows - row),
                            part.depth);
    } else {
      const size_t column = (task - panelsOfA) * kBlockColumns;
      packPanels<kTileColumns, Format>(part.packedB + column * part.steps(), b.at(column, 0),
                               smaller(kBlockColumns, part.columns - column), part.depth);
    }
  });
}

void multiply(Context& context, const Part& part, float* out, size_t outStride, bool accumulate) {
  const size_t blocksDown = panelCount(part.rows, kBlockRows);
  const size_t blocksAcross = panelCount(part.columns, kBlockColumns);
  const size_t steps = part.steps();
  const size_t operations = 2 * part.rows * part.columns * steps / kLanes;
  context.pool.run(blocksDown * blocksAcross, operations, [&](size_t task, unsigned) {
    const size_t row = task % blocksDown * kBlockRows;
    const size_t column = task / blocksDown * kBlockColumns;
    multiplyPanels<Format>(out + row * outStride + column, outStride, {part.packedA + row * steps, kTileRows * steps},
                           {part.packedB + column * steps, kTileColumns * steps}, smaller(kBlockRows, part.rows - row),
                           smaller(kBlockColumns, part.columns - column), steps, accumulate);
  });
}

}  // namespace

/** Every result is summed by one thread in the same order, so the bits do not depend on the number of threads. */
void matmul(Context& context, float* out, const float* a, const float* b, const MatmulShape& shape) {
  const Source sourceA{a, shape.transposeA ? shape.m : shape.k, shape.transposeA};
  const Source sourceB{b, shape.transposeB ? shape.k : shape.n, !shape.transposeB};
  const size_t rows = smaller(kPackedRows, shape.m);
  const size_t columns = smaller(kPackedColumns, shape.n);
  const size_t depth = padded(panelCount(shape.k, panelCount(shape.k, kDepth)), kLanes * Format::kDepthPerStep);
  const size_t steps = depth / Format::kDepthPerStep;
  const size_t packedRows = padded(rows, kTileRows);
  float* packed = context.workspace.floats((packedRows + padded(columns, kTileColumns)) * steps);

  for (size_t column = 0; column < shape.n; column += columns)
    for (size_t row = 0; row < shape.m; row += rows)
      for (size_t p = 0; p < shape.k; p += depth) {
        const Part part{smaller(rows, shape.m - row), smaller(columns, shape.n - column), smaller(depth, shape.k - p),
                        packed, packed + packedRows * steps};
        pack(context, part, sourceA.at(row, p), sourceB.at(column, p));
        multiply(context, part, out + row * shape.n + column, shape.n, shape.accumulate || p > 0);
      }
}

}  // namespace tah::TAH_ISA
