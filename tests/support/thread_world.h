// A world whose ranks are threads of one process, each with a backend of its own.
#ifndef HOPSKIP_TESTS_SUPPORT_THREAD_WORLD_H_
#define HOPSKIP_TESTS_SUPPORT_THREAD_WORLD_H_

#include <atomic>
#include <barrier>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/forwarding_backend.h"

namespace hopskip::test {

class ThreadWorld {
 public:
  explicit ThreadWorld(int size) : size_(size), meeting_(size), parts_(size) {}

  int size() const { return size_; }

  // body(rank) in a thread each; rethrows what the first of the ranks that failed by themselves has
  // thrown. The others do not wait for it.
  void run(const std::function<void(int rank)>& body) {
    std::vector<std::exception_ptr> errors(size_);
    {
      std::vector<std::jthread> threads;
      for (int rank = 0; rank < size_; ++rank) {
        threads.emplace_back([&, rank] {
          try {
            body(rank);
          } catch (const Deserted&) {
          } catch (...) {
            errors[rank] = std::current_exception();
            deserted_ = true;
          }
          meeting_.arrive_and_drop();
        });
      }
    }
    for (const std::exception_ptr& error : errors) {
      if (error) {
        std::rethrow_exception(error);
      }
    }
  }

  // Backend::all_reduce() of one rank, in host memory: all wait for all.
  void all_reduce(int rank, Matrix x) {
    parts_[rank] = x;
    meet();
    std::vector<float> sum(x.rows * x.cols);
    for (const Matrix& part : parts_) {  // in one order, so that all get the same bits
      if (part.rows != x.rows || part.cols != x.cols) {
        throw std::logic_error("all_reduce: the ranks come with different shapes");
      }
      for (int64_t i = 0; i < std::ssize(sum); ++i) {
        sum[i] += part.row(i / x.cols)[i % x.cols];
      }
    }
    meet();  // nobody reads the parts any more
    for (int64_t i = 0; i < std::ssize(sum); ++i) {
      x.row(i / x.cols)[i % x.cols] = sum[i];
    }
  }

 private:
  struct Deserted {};

  void meet() {
    meeting_.arrive_and_wait();
    if (deserted_) {
      throw Deserted();
    }
  }

  int size_;
  std::barrier<> meeting_;
  std::vector<Matrix> parts_;
  std::atomic<bool> deserted_ = false;
};

// A rank of it: everything but the sums is the inner backend's.
class RankBackend : public ForwardingBackend {
 public:
  RankBackend(std::unique_ptr<Backend> inner, ThreadWorld& world, int rank)
      : ForwardingBackend(std::move(inner)), world_(world), rank_(rank) {}

  World world() const override { return {rank_, world_.size()}; }
  void all_reduce(Matrix x) override { world_.all_reduce(rank_, x); }

 private:
  ThreadWorld& world_;
  int rank_;
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_THREAD_WORLD_H_
