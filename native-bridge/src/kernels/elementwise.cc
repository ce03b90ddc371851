#include "kernels.h"
#include "range.h"
#include "vector.h"

// Simple loops over restricted pointers are left to the compiler, which vectorises them; sums and exponentials use
// Vector, since their order of operations must be written down.

namespace tah::TAH_ISA {

void fill(Context& context, float* out, size_t length, float value) {
  forRanges(context.pool, length, 1, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) out[i] = value;
  });
}

void add(Context& context, float* out, const float* a, const float* b, size_t length) {
  forRanges(context.pool, length, 2, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) out[i] = a[i] + b[i];
  });
}

void addScaled(Context& context, float* out, const float* x, size_t length, float factor) {
  forRanges(context.pool, length, 2, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) out[i] += factor * x[i];
  });
}

void addColumns(Context& context, float* out, const float* source, const ColumnsShape& shape) {
  forRows(context.pool, shape.rows, shape.columns, 2, [=](size_t row) {
    float* to = out + row * shape.outWidth;
    const float* from = source + row * shape.sourceWidth;
    for (size_t i = 0; i < shape.columns; i++) to[i] += from[i];
  });
}

void squaredNorm(Context& context, float* out, const float* x, size_t length) {
  const size_t tasks = (length + kElementsPerTask - 1) / kElementsPerTask;
  double* partial = context.workspace.doubles(tasks);
  forRanges(context.pool, length, 1, [=](size_t begin, size_t end) {
    double lanes[kLanes] = {};
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      for (size_t lane = 0; lane < kLanes; lane++) lanes[lane] += double(x[i + lane]) * x[i + lane];
    for (; i < end; i++) lanes[0] += double(x[i]) * x[i];
    double total = 0;
    for (const double lane : lanes) total += lane;
    partial[begin / kElementsPerTask] = total;
  });
  double total = 0;
  for (size_t task = 0; task < tasks; task++) total += partial[task];
  out[0] = float(total);
}

namespace {

Vector sigmoid(Vector x) { return splat(1) / (exponential(Vector{} - x) + 1.f); }

/** silu(x) = x · σ(x); operations, with the exponential counted as ten. */
constexpr size_t kSiluOperations = 16;

}  // namespace

void swigluForward(Context& context, float* out, const float* gate, const float* up, size_t length) {
  forRanges(context.pool, length, kSiluOperations, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i += kLanes) {
      const Vector g = load(gate + i, end - i);
      store(out + i, g * sigmoid(g) * load(up + i, end - i), end - i);
    }
  });
}

/** silu′(x) = σ(x) · (1 + x · (1 − σ(x))). All inputs are read before any output is written: they may alias. */
void swigluBackward(Context& context, float* dGate, float* dUp, float* activated, const float* dOut, const float* gate,
                    const float* up, size_t length) {
  forRanges(context.pool, length, 2 * kSiluOperations, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i += kLanes) {
      const size_t count = end - i;
      const Vector g = load(gate + i, count), u = load(up + i, count), d = load(dOut + i, count);
      const Vector s = sigmoid(g);
      store(dGate + i, d * u * s * (g * (splat(1) - s) + 1.f), count);
      store(dUp + i, d * g * s, count);
      store(activated + i, g * s * u, count);
    }
  });
}

}  // namespace tah::TAH_ISA
