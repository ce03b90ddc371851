#include "thread-pool.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace tah {
namespace {

/** About 3 µs of arithmetic: what handing work to a waiting thread costs. */
constexpr size_t kShareOperations = 1 << 17;

/**
 * How often a thread looks again before it sleeps: some 30 µs. The kernels of a training step follow each other faster than
 * that, and waking a sleeping thread takes as long; between steps nobody spins.
 */
constexpr int kLooks = 2000;

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

template <class Condition>
bool spinUntil(const Condition& condition) {
  for (int look = 0; look < kLooks; look++) {
    if (condition()) return true;
    pause();
  }
  return condition();
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads) {
  try {
    for (unsigned thread = 1; thread < threads; thread++) workers_.emplace_back([this, thread] { work(thread); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(const Job& job, size_t operations) {
  if (workers_.empty() || job.tasks < 2 || operations < kShareOperations) {
    for (size_t task = 0; task < job.tasks; task++) job.call(job.context, task, 0);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    nextTask_ = 0;
    job_ = &job;
    jobNumber_++;
  }
  wake_.notify_all();
  takeTasks(job, 0);
  // A worker that has not come yet finds no job: only those at work are waited for.
  std::unique_lock lock(mutex_);
  job_ = nullptr;
  lock.unlock();
  if (spinUntil([this] { return active_ == 0; })) return;
  lock.lock();
  finished_.wait(lock, [this] { return active_ == 0; });
}

void ThreadPool::work(unsigned thread) {
  size_t lastJobNumber = 0;
  for (;;) {
    const bool isAwaited = !spinUntil([&] { return stopping_ || jobNumber_ != lastJobNumber; });
    std::unique_lock lock(mutex_);
    if (isAwaited) wake_.wait(lock, [&] { return stopping_ || jobNumber_ != lastJobNumber; });
    if (stopping_) return;
    lastJobNumber = jobNumber_;
    if (job_ == nullptr) continue;
    const Job& job = *job_;
    active_++;
    lock.unlock();
    takeTasks(job, thread);
    lock.lock();
    if (--active_ == 0) finished_.notify_one();
  }
}

void ThreadPool::takeTasks(const Job& job, unsigned thread) {
  for (size_t task = nextTask_++; task < job.tasks; task = nextTask_++) job.call(job.context, task, thread);
}

}  // namespace tah
