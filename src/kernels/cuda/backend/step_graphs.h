// CUDA graphs of steps: the second step of a key is captured, later ones are replayed.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_STEP_GRAPHS_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_STEP_GRAPHS_H_

#include <compare>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <utility>

#include "kernels/cuda/backend/handles.h"

namespace hopskip::cuda {

// What tells steps with different operations apart, as far as it is known when a step begins.
struct StepKey {
  int64_t num_tokens = 0;   // padded
  uint64_t kv_storage = 0;  // KvStorage's id
  bool timed = false;       // its graph records events
  auto operator<=>(const StepKey&) const = default;
};

// The first step of a key runs directly: whatever is made on first use is made then, since nothing
// can be allocated during a capture. The caller's code runs in every step; launches() tells it
// whether an operation is to be launched, or is part of the graph that end() launches.
class StepGraphs {
 public:
  // before_launch: called with the kind of each operation that launches() lets through.
  StepGraphs(cudaStream_t stream, std::function<void(uint64_t)> before_launch)
      : stream_(stream), before_launch_(std::move(before_launch)) {}
  ~StepGraphs() { abandon(); }
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Nothing: this step always runs directly.
  void begin(std::optional<StepKey> key);
  // Notes an operation by its kind, which comes first, addresses and sizes. False: do not launch
  // it.
  bool launches(std::initializer_list<uint64_t> operation);
  // Throws Internal where the operations were others than when the graph was captured; Device.
  void end();
  // Gives up the step that has begun, if any; a key whose capture fails starts over.
  void abandon();
  // Runs what may move memory that graphs name, and forgets them all where it says that it did, or
  // fails halfway. Not during a step.
  template <typename Move>
  void forget_if(Move moves) {
    try {
      if (moves()) {
        graphs_.clear();
      }
    } catch (...) {
      graphs_.clear();
      throw;
    }
  }

  bool capturing() const { return mode_ == Mode::kCapture; }
  bool replays() const { return mode_ == Mode::kReplay; }
  bool puts_off() const { return mode_ != Mode::kDirect; }

 private:
  enum class Mode { kDirect, kCapture, kReplay };
  struct Entry {
    GraphExec graph;  // null: a step has run directly
    uint64_t signature = 0;
  };

  cudaStream_t stream_;
  std::function<void(uint64_t)> before_launch_;
  std::map<StepKey, Entry> graphs_;  // of keys whose first step has come to its end
  Mode mode_ = Mode::kDirect;
  std::optional<StepKey> key_;  // of the step that has begun, if it has one
  uint64_t signature_ = 0;      // of the operations so far
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_STEP_GRAPHS_H_
