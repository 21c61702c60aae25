// A fixed team of threads for data-parallel loops.
#ifndef HOPSKIP_BASE_THREAD_POOL_H_
#define HOPSKIP_BASE_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/function_ref.h"

namespace hopskip {

// The caller of parallel_for is thread 0 and works too, so a pool of one has no extra thread.
// Workers spin for a few microseconds after a loop before they sleep: a decode step is hundreds of
// loops of a few microseconds each, and a futex wake would cost more than the loop.
// A loop waits only for workers that have joined it: where another program holds a core, the caller
// does the sleeping worker's share instead of waiting for the scheduler.
// One thread at a time may call parallel_for; loops do not nest.
class ThreadPool {
 public:
  // threads ≥ 1; 0 takes the number of hardware threads. Throws OutOfMemory where the system gives
  // fewer.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(task, thread) once for every task in [0, tasks), thread in [0, size()). Tasks are
  // handed out one by one in rising order. The first exception that leaves body is thrown again
  // here once all threads are done; tasks that had not begun by then may not run.
  void parallel_for(int64_t tasks, FunctionRef<void(int64_t task, int thread)> body);

 private:
  struct Loop {
    FunctionRef<void(int64_t, int)> body;
    int64_t tasks;
  };

  void stop();
  void work(int thread);
  void join(int thread);
  void drain(const Loop& loop, int thread);

  std::vector<std::thread> workers_;
  const Loop* loop_ = nullptr;                       // published by state_
  alignas(64) std::atomic<uint32_t> generation_{0};  // bumps once a loop; idle workers watch it
  // kOpen while a loop may be joined, plus the number of workers that have joined and not left.
  alignas(64) std::atomic<uint32_t> state_{0};
  alignas(64) std::atomic<int64_t> next_task_{0};
  std::atomic<bool> stop_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;  // the first of the loop at hand
};

}  // namespace hopskip

#endif  // HOPSKIP_BASE_THREAD_POOL_H_
