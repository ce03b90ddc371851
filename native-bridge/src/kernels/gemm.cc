#include "format.h"
#include "kernels.h"
#include "range.h"

namespace tah::TAH_ISA {
namespace {

// The product is cut so that a panel of a (kMostSteps · kTileRows elements, 24 KiB) stays in the first-level cache, and a
// block of a (kBlockRows · kMostSteps, 192 KiB) and one of b (kBlockColumns · kMostSteps, 256 KiB) in the second, and so
// that the packed parts of a and b fit a few MiB.
constexpr size_t kMostSteps = 512;
constexpr size_t kBlockRows = 8 * kTileRows;
constexpr size_t kBlockColumns = 128;
constexpr size_t kMostRows = 2048 / kBlockRows * kBlockRows;
constexpr size_t kMostColumns = 4096;
static_assert(kBlockColumns % kTileColumns == 0 && kMostColumns % kBlockColumns == 0);

/** Rows that lie a multiple of 4 KiB apart fall into the same few sets of the first-level cache. */
constexpr size_t kConflictingStride = 1024;

/**
 * How many of the first `rows` rows of a are multiplied as they lie: floats that are contiguous along the depth, in whole
 * panels, since a tile reads all rows of its panel.
 */
size_t rowsInPlace(const Source& a, size_t rows) {
  const bool needsPacking = Format::kDepthPerStep > 1 || a.alongWidth || a.stride % kConflictingStride == 0;
  return needsPacking ? 0 : rows / kTileRows * kTileRows;
}

/** One part of the product: its operands packed, then multiplied, each step by all threads. */
struct Part {
  size_t rows, columns, depth;
  /** How many of the rows are not packed. */
  size_t inPlace;

  Part(const Source& a, size_t rowCount, size_t columnCount, size_t depthCount)
      : rows(rowCount), columns(columnCount), depth(depthCount), inPlace(rowsInPlace(a, rowCount)) {}

  size_t steps() const { return stepsOf<Format>(depth); }
  size_t rowStride() const { return padded(steps(), kLanes) + kLanes; }
  size_t packedFloatsOfA() const { return padded(rows - inPlace, kTileRows) * rowStride(); }
  size_t packedFloatsOfB() const { return padded(columns, kTileColumns) * steps(); }
};

void packLeft(float* packed, const Part& part, const Source& a, size_t row) {
  const size_t rows = smaller(kBlockRows, part.rows - part.inPlace - row);
  const Source source = a.at(part.inPlace + row, 0);
  if (a.alongWidth) packAlongWidth<Format, kTileRows>(packed + row * part.steps(), source, rows, part.depth);
  else packRows<Format>(packed + row * part.rowStride(), part.rowStride(), source, rows, part.depth);
}

void packRight(float* packed, const Part& part, const Source& b, size_t column) {
  const size_t columns = smaller(kBlockColumns, part.columns - column);
  packColumns<Format>(packed + column * part.steps(), b.at(column, 0), columns, part.depth);
}

void pack(Context& context, float* packedA, float* packedB, const Part& part, const Source& a, const Source& b) {
  const size_t blocksOfA = panelCount(part.rows - part.inPlace, kBlockRows);
  const size_t blocksOfB = panelCount(part.columns, kBlockColumns);
  const size_t operations = part.packedFloatsOfA() + part.packedFloatsOfB();
  context.pool.run(blocksOfA + blocksOfB, operations, [&](size_t task, unsigned) {
    if (task < blocksOfA) packLeft(packedA, part, a, task * kBlockRows);
    else packRight(packedB, part, b, (task - blocksOfA) * kBlockColumns);
  });
}

/** Blocks that share rows follow each other: a comes from main memory once. */
template <class Layout>
void multiplyBlocks(Context& context, const Target& out, LeftPanels<Layout> a, const float* b, size_t steps) {
  const size_t blocksDown = panelCount(out.rows, kBlockRows);
  const size_t blocksAcross = panelCount(out.columns, kBlockColumns);
  const size_t operations = 2 * out.rows * out.columns * steps / kLanes;
  context.pool.run(blocksDown * blocksAcross, operations, [&](size_t task, unsigned) {
    const size_t row = task / blocksAcross * kBlockRows;
    const size_t column = task % blocksAcross * kBlockColumns;
    const Target block{out.data + row * out.stride + column, out.stride, smaller(kBlockRows, out.rows - row),
                       smaller(kBlockColumns, out.columns - column), out.accumulate};
    multiplyPanels<Format>(block, LeftPanels<Layout>{a.data + row / kTileRows * a.stride, a.stride, a.layout},
                           columnPanels(b + column * steps, steps), steps);
  });
}

void multiply(Context& context, const Target& out, const float* packedA, const float* packedB, const Part& part,
              const Source& a) {
  const size_t steps = part.steps();
  Target inPlace = out, packed = out;
  inPlace.rows = part.inPlace;
  packed.rows -= part.inPlace;
  packed.data += part.inPlace * out.stride;
  multiplyBlocks(context, inPlace, rowPanels(a.data, a.stride), packedB, steps);
  if (a.alongWidth) multiplyBlocks(context, packed, stepPanels(packedA, steps), packedB, steps);
  else multiplyBlocks(context, packed, rowPanels(packedA, part.rowStride()), packedB, steps);
}

/** How a product is cut into parts, and the packed operands of the largest of them. */
struct Plan {
  Source a, b;
  size_t depth, packedFloatsOfA, packedFloatsOfB;

  /** Without operands it says how much they would take. */
  Plan(const MatmulShape& shape, const float* dataOfA = nullptr, const float* dataOfB = nullptr)
      : a{dataOfA, shape.transposeA ? shape.m : shape.k, shape.transposeA},
        b{dataOfB, shape.transposeB ? shape.k : shape.n, !shape.transposeB} {
    const size_t parts = panelCount(shape.k, kMostSteps * Format::kDepthPerStep);
    depth = padded(panelCount(shape.k, parts), kLanes * Format::kDepthPerStep);
    const Part first(a, smaller(kMostRows, shape.m), smaller(kMostColumns, shape.n), depth);
    // The last rows may leave more to pack than the first ones: up to a panel more.
    packedFloatsOfA = first.packedFloatsOfA() + kTileRows * first.rowStride();
    packedFloatsOfB = first.packedFloatsOfB();
  }
};

}  // namespace

size_t matmulWorkspace(const MatmulShape& shape) {
  const Plan plan(shape);
  return plan.packedFloatsOfA + plan.packedFloatsOfB;
}

/** Every result is summed by one thread in the same order, so the bits do not depend on the number of threads. */
void matmul(Context& context, float* out, const float* a, const float* b, const MatmulShape& shape) {
  const Plan plan(shape, a, b);
  float* packedA = context.workspace.floats(plan.packedFloatsOfA + plan.packedFloatsOfB);
  float* packedB = packedA + plan.packedFloatsOfA;

  for (size_t column = 0; column < shape.n; column += kMostColumns)
    for (size_t row = 0; row < shape.m; row += kMostRows)
      for (size_t p = 0; p < shape.k; p += plan.depth) {
        const Source partOfA = plan.a.at(row, p);
        const Part part(plan.a, smaller(kMostRows, shape.m - row), smaller(kMostColumns, shape.n - column),
                        smaller(plan.depth, shape.k - p));
        const Target target{out + row * shape.n + column, shape.n, part.rows, part.columns, shape.accumulate || p > 0};
        pack(context, packedA, packedB, part, partOfA, plan.b.at(column, p));
        multiply(context, target, packedA, packedB, part, partOfA);
      }
}

}  // namespace tah::TAH_ISA
