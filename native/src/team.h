// The engine's own threads. They sleep between runs; within a run they wait for each other by
// spinning.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace vgg {

class Team {
 public:
  // The caller of run() is one of them. Throws std::runtime_error when the system has no more.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // Calls job(context, thread) once on every thread, 0 being the caller, and returns when all have
  // returned. A job does not throw.
  using Job = void (*)(void* context, int thread);
  void run(Job job, void* context);

  template <class Body>
  void run(Body&& body) {
    run([](void* context, int thread) { (*static_cast<Body*>(context))(thread); }, &body);
  }

  // Within a job. claim() hands out 0, 1, 2, ... to whoever asks, beginning anew after every
  // barrier().
  int claim() { return claimed_.fetch_add(1, std::memory_order_relaxed); }
  void barrier();

 private:
  void work(int thread);
  void stop();

  const int size_;
  std::vector<std::thread> workers_;
  Job job_ = nullptr;
  void* context_ = nullptr;

  alignas(64) std::atomic<int> claimed_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> passed_{0};   // barriers
  alignas(64) std::atomic<unsigned> started_{0};  // runs
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace vgg
