#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace hopskip {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceInEveryLoop) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (int loop = 0; loop < 2000; ++loop) {
      const int tasks = loop % 7;
      std::vector<int> runs(tasks, 0);
      pool.parallel_for(tasks, [&](int64_t task, int thread) {
        runs[task] += 1;  // a task that ran twice at a time would be a race, too
        EXPECT_GE(thread, 0);
        EXPECT_LT(thread, threads);
      });
      for (int count : runs) {
        ASSERT_EQ(count, 1);
      }
    }
  }
}

TEST(ThreadPool, WorkersShareTheTasks) {
  ThreadPool pool(2);
  std::atomic<int> arrived{0};
  std::atomic<bool> met{false};
  // Each task waits for the other: one thread alone would run into the time limit.
  pool.parallel_for(2, [&](int64_t, int) {
    ++arrived;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (arrived < 2 && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
    }
    met = arrived == 2;
  });
  EXPECT_TRUE(met);
}

TEST(ThreadPool, ThrowsWhatATaskThrewAndGoesOn) {
  ThreadPool pool(2);
  for (int loop = 0; loop < 200; ++loop) {
    EXPECT_THROW(pool.parallel_for(64,
                                   [&](int64_t task, int) {
                                     if (task % 2 == 1) {
                                       throw std::runtime_error("odd");
                                     }
                                   }),
                 std::runtime_error);
    std::atomic<int> runs{0};
    pool.parallel_for(64, [&](int64_t, int) { ++runs; });
    EXPECT_EQ(runs, 64);
  }
}

TEST(ThreadPool, WakesWorkersThatHaveGoneToSleep) {
  ThreadPool pool(2);
  for (int loop = 0; loop < 5; ++loop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> sum{0};
    pool.parallel_for(100, [&](int64_t task, int) { sum += static_cast<int>(task); });
    EXPECT_EQ(sum, 4950);
  }
}

}  // namespace
}  // namespace hopskip
