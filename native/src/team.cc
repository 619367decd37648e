#include "team.h"

#include <sched.h>

#include <stdexcept>
#include <string>
#include <system_error>

namespace vgg {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Within a run the others are about to arrive, unless the machine has given their core to somebody
// else: then ours is better given away too.
constexpr int pauses_before_yield = 1000;
// After a run the next one often follows at once (50 microseconds or so); then the thread sleeps.
constexpr int pauses_before_sleep = 1000;

}  // namespace

Team::Team(int threads) : size_(threads < 1 ? 1 : threads) {
  try {
    for (int thread = 1; thread < size_; ++thread)
      workers_.emplace_back([this, thread] { work(thread); });
  } catch (const std::system_error& error) {
    const size_t started = workers_.size() + 1;
    stop();
    throw std::runtime_error("only " + std::to_string(started) + " of " + std::to_string(size_) +
                             " threads can be started: " + error.code().message());
  } catch (...) {
    stop();
    throw;
  }
}

Team::~Team() { stop(); }

void Team::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Team::run(Job job, void* context) {
  job_ = job;
  context_ = context;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    started_.fetch_add(1, std::memory_order_release);
  }
  if (size_ > 1) wake_.notify_all();
  job(context, 0);
  barrier();
}

void Team::work(int thread) {
  for (unsigned seen = 0;; ++seen) {
    const auto is_called = [&] {
      return stopping_ || started_.load(std::memory_order_acquire) != seen;
    };
    for (int i = 0; i < pauses_before_sleep && !is_called(); ++i) pause();
    if (!is_called()) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, is_called);
    }
    if (stopping_) return;
    job_(context_, thread);
    barrier();
  }
}

void Team::barrier() {
  const unsigned passed = passed_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    claimed_.store(0, std::memory_order_relaxed);
    passed_.store(passed + 1, std::memory_order_release);
    return;
  }
  for (int i = 0; passed_.load(std::memory_order_acquire) == passed; ++i) {
    if (i < pauses_before_yield)
      pause();
    else
      sched_yield();
  }
}

}  // namespace vgg
