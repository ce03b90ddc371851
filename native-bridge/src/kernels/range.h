#pragma once

#include "../thread-pool.h"

namespace tah::TAH_ISA {

/** Elements per task: whole vectors, and small enough that what a task writes is still in the cache when read back. */
constexpr size_t kElementsPerTask = 16384;

inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/** Calls body(begin, end) on consecutive ranges of [0, length), shared by the pool's threads. */
template <class Body>
inline void forRanges(ThreadPool& pool, size_t length, size_t operationsPerElement, const Body& body) {
  const size_t tasks = (length + kElementsPerTask - 1) / kElementsPerTask;
  pool.run(tasks, length * operationsPerElement, [&](size_t task, unsigned) {
    const size_t begin = task * kElementsPerTask;
    body(begin, smaller(begin + kElementsPerTask, length));
  });
}

/** Calls body(row) for every row, shared by the pool's threads in groups of about kElementsPerTask elements. */
template <class Body>
inline void forRows(ThreadPool& pool, size_t rows, size_t width, size_t operationsPerElement, const Body& body) {
  const size_t group = width < kElementsPerTask ? kElementsPerTask / width : 1;
  pool.run((rows + group - 1) / group, rows * width * operationsPerElement, [&](size_t task, unsigned) {
    const size_t end = smaller((task + 1) * group, rows);
    for (size_t row = task * group; row < end; row++) body(row);
  });
}

/**
 * Calls body(begin, end) on ranges of columns. For sums over rows: each column has one thread, which goes through the
 * rows in order.
 */
template <class Body>
inline void forColumns(ThreadPool& pool, size_t rows, size_t width, size_t operationsPerElement, const Body& body) {
  constexpr size_t kColumnsPerTask = 128;
  pool.run((width + kColumnsPerTask - 1) / kColumnsPerTask, rows * width * operationsPerElement,
           [&](size_t task, unsigned) {
             const size_t begin = task * kColumnsPerTask;
             body(begin, smaller(begin + kColumnsPerTask, width));
           });
}

}  // namespace tah::TAH_ISA
