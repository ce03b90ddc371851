#include "thread-pool.h"

namespace tah {
namespace {

/** About 10 µs of arithmetic: what waking a sleeping thread costs. */
constexpr size_t kWakeOperations = 1 << 19;

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
  if (workers_.empty() || job.tasks < 2 || operations < kWakeOperations) {
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
  // A worker that has not woken up yet finds no job and goes back to sleep: only those at work are waited for.
  std::unique_lock lock(mutex_);
  job_ = nullptr;
  finished_.wait(lock, [this] { return active_ == 0; });
}

void ThreadPool::work(unsigned thread) {
  size_t lastJobNumber = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stopping_ || (job_ != nullptr && jobNumber_ != lastJobNumber); });
    if (stopping_) return;
    const Job& job = *job_;
    lastJobNumber = jobNumber_;
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
