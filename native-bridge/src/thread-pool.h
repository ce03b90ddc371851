#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

namespace tah {

/**
 * A fixed number of threads that share the tasks of one job at a time. The thread that calls `run` takes part, so a pool
 * of one thread starts none. Threads that find nothing to do look again for a moment, then sleep. Which thread runs a task varies; kernels therefore give every task its
 * own outputs, and sum partial results in task order, which makes their results the same bits every time.
 */
class ThreadPool {
 public:
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

  /**
   * Calls body(task, thread) for every task in [0, tasks), with thread in [0, threads()), and returns when all are done.
   * `operations` is the job's rough cost in arithmetic operations: a small job is not worth waking anyone. The body must
   * not throw.
   */
  template <class Body>
  void run(size_t tasks, size_t operations, const Body& body) {
    const Job job{[](const void* context, size_t task, unsigned thread) {
                    (*static_cast<const Body*>(context))(task, thread);
                  },
                  &body, tasks};
    run(job, operations);
  }

 private:
  struct Job {
    void (*call)(const void* context, size_t task, unsigned thread);
    const void* context;
    size_t tasks;
  };

  void run(const Job& job, size_t operations);
  void stop();
  void work(unsigned thread);
  void takeTasks(const Job& job, unsigned thread);

  std::vector<std::thread> workers_;
  std::atomic<size_t> nextTask_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable finished_;
  // Written under mutex_; those that are atomic are looked at without it.
  const Job* job_ = nullptr;
  std::atomic<size_t> jobNumber_{0};
  std::atomic<unsigned> active_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace tah
