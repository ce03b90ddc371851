#include "format.h"
#include "kernels.h"
#include "range.h"

namespace tah::TAH_ISA {
namespace {

// The product is cut so that a panel of a (kMostSteps · kTileRows elements, 24 KiB) stays in the first-level cache and a
// block of b (kBlockColumns · kMostSteps, 256 KiB) in the second, and so that the packed parts of a and b fit a few MiB.
constexpr size_t kMostSteps = 512;
constexpr size_t kBlockRows = 8 * kTileRows;
constexpr size_t kBlockColumns = 128;
constexpr size_t kPackedRows = 2048 / kBlockRows * kBlockRows;
constexpr size_t kPackedColumns = 4096;
static_assert(kBlockColumns % kTileColumns == 0 && kPackedColumns % kBlockColumns == 0);

/** One part of the product: its operands packed, then multiplied, each by all threads. */
struct Part {
  size_t rows, columns, depth;
  float* packedA;
  float* packedB;

  size_t steps() const { return stepsOf<Format>(depth); }
  /** Rows of a that do not lie a power of two apart fall into different sets of the cache. */
  size_t rowStride() const { return padded(steps(), kLanes) + kLanes; }
};

void packLeft(const Part& part, const Source& a, size_t row) {
  const size_t rows = smaller(kBlockRows, part.rows - row);
  if (a.alongWidth)
    packAlongWidth<Format, kTileRows>(part.packedA + row * part.steps(), a.at(row, 0), rows, part.depth);
  else packRows<Format>(part.packedA + row * part.rowStride(), part.rowStride(), a.at(row, 0), rows, part.depth);
}

void packRight(const Part& part, const Source& b, size_t column) {
  packColumns<Format>(part.packedB + column * part.steps(), b.at(column, 0),
                      smaller(kBlockColumns, part.columns - column), part.depth);
}

void pack(Context& context, const Part& part, const Source& a, const Source& b) {
  const size_t blocksOfA = panelCount(part.rows, kBlockRows);
  const size_t blocksOfB = panelCount(part.columns, kBlockColumns);
  context.pool.run(blocksOfA + blocksOfB, (part.rows + part.columns) * part.depth, [&](size_t task, unsigned) {
    if (task < blocksOfA) packLeft(part, a, task * kBlockRows);
    else packRight(part, b, (task - blocksOfA) * kBlockColumns);
  });
}

template <class Layout>
void multiply(Context& context, const Part& part, const Target& out, LeftPanels<Layout> a) {
  const size_t blocksDown = panelCount(part.rows, kBlockRows);
  const size_t blocksAcross = panelCount(part.columns, kBlockColumns);
  const size_t steps = part.steps();
  const size_t operations = 2 * part.rows * part.columns * steps / kLanes;
  context.pool.run(blocksDown * blocksAcross, operations, [&](size_t task, unsigned) {
    const size_t row = task % blocksDown * kBlockRows;
    const size_t column = task / blocksDown * kBlockColumns;
    const Target block{out.data + row * out.stride + column, out.stride, smaller(kBlockRows, part.rows - row),
                       smaller(kBlockColumns, part.columns - column), out.accumulate};
    multiplyPanels<Format>(block, LeftPanels<Layout>{a.data + row / kTileRows * a.stride, a.stride, a.layout},
                           columnPanels(part.packedB + column * steps, steps), steps);
  });
}

}  // namespace

/** Every result is summed by one thread in the same order, so the bits do not depend on the number of threads. */
void matmul(Context& context, float* out, const float* a, const float* b, const MatmulShape& shape) {
  const Source sourceA{a, shape.transposeA ? shape.m : shape.k, shape.transposeA};
  const Source sourceB{b, shape.transposeB ? shape.k : shape.n, !shape.transposeB};
  const size_t rows = smaller(kPackedRows, shape.m);
  const size_t columns = smaller(kPackedColumns, shape.n);
  const size_t parts = panelCount(shape.k, kMostSteps * Format::kDepthPerStep);
  const size_t depth = padded(panelCount(shape.k, parts), kLanes * Format::kDepthPerStep);
  const Part whole{rows, columns, depth, nullptr, nullptr};
  const size_t packedA = padded(rows, kTileRows) * whole.rowStride();
  float* packed = context.workspace.floats(packedA + padded(columns, kTileColumns) * whole.steps());

  for (size_t column = 0; column < shape.n; column += columns)
    for (size_t row = 0; row < shape.m; row += rows)
      for (size_t p = 0; p < shape.k; p += depth) {
        const Part part{smaller(rows, shape.m - row), smaller(columns, shape.n - column), smaller(depth, shape.k - p),
                        packed, packed + packedA};
        pack(context, part, sourceA.at(row, p), sourceB.at(column, p));
        const Target target{out + row * shape.n + column, shape.n, part.rows, part.columns, shape.accumulate || p > 0};
        if (sourceA.alongWidth) multiply(context, part, target, stepPanels(packed, part.steps()));
        else multiply(context, part, target, rowPanels(packed, part.rowStride()));
      }
}

}  // namespace tah::TAH_ISA
