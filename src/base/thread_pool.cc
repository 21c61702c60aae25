#include "base/thread_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace hopskip {
namespace {

// About 50 µs on a 3 GHz core: longer than the serial gap between two loops of a decode step.
constexpr int kSpins = 4000;

// Of ThreadPool::state_.
constexpr uint32_t kOpen = uint32_t{1} << 31;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` differs from `old`: spins first, then sleeps.
template <typename T>
void wait_while_equal(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) {
      return;
    }
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) {
    threads = std::max(1u, std::thread::hardware_concurrency());
  }
  workers_.reserve(threads - 1);
  try {
    for (int thread = 1; thread < threads; ++thread) {
      workers_.emplace_back([this, thread] { work(thread); });
    }
  } catch (const std::system_error& error) {
    const int started = size();
    stop();
    fail(ErrorCode::kOutOfMemory, "only {} of {} threads could be started ({}); ask for fewer",
         started, threads, error.code().message());
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stop_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

void ThreadPool::parallel_for(int64_t tasks, FunctionRef<void(int64_t, int)> body) {
  if (workers_.empty() || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) {
      body(task, 0);
    }
    return;
  }
  const Loop loop{body, tasks};
  loop_ = &loop;
  next_task_.store(0, std::memory_order_relaxed);
  state_.store(kOpen, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  drain(loop, 0);
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (uint32_t joined; (joined = state_.load(std::memory_order_acquire)) != 0;) {
    wait_while_equal(state_, joined);
  }
  if (error_) {
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

// Joins the loop that is open, if any: perhaps a later one than the worker was woken for.
void ThreadPool::join(int thread) {
  uint32_t state = state_.load(std::memory_order_acquire);
  while ((state & kOpen) != 0) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
      drain(*loop_, thread);
      if (state_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        state_.notify_one();
      }
      return;
    }
  }
}

void ThreadPool::drain(const Loop& loop, int thread) {
  try {
    for (int64_t task; (task = next_task_.fetch_add(1, std::memory_order_relaxed)) < loop.tasks;) {
      loop.body(task, thread);
    }
  } catch (...) {
    next_task_.store(loop.tasks, std::memory_order_relaxed);
    const std::lock_guard lock(error_mutex_);
    if (!error_) {
      error_ = std::current_exception();
    }
  }
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    wait_while_equal(generation_, seen);
    const uint32_t now = generation_.load(std::memory_order_acquire);
    if (now == seen) {
      continue;  // a spurious wake
    }
    seen = now;
    if (stop_.load(std::memory_order_acquire)) {
      return;
    }
    join(thread);
  }
}

}  // namespace hopskip
