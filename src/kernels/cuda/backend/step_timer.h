// What each part of a step takes on the GPU: events wherever one part gives way to another. In a
// step that is captured they become nodes of its graph, so that it is the replay which is measured.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_STEP_TIMER_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_STEP_TIMER_H_

#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/backend/handles.h"
#include "kernels/cuda/backend/step_graphs.h"

namespace hopskip::cuda {

// Calls come in the order begin(), enter() before each operation, end(); a step may be left out
// halfway.
class StepTimer {
 public:
  StepTimer(cudaStream_t stream, int device) : stream_(stream), device_(device) {}

  // How the operations of a step reach the GPU.
  enum class Mode { kLaunched, kCaptured, kReplayed };
  // key: of a step that may be replayed. Its events belong to it, for a graph names them.
  void begin(bool timed, const std::optional<StepKey>& key, Mode mode);
  // An operation of `part` is about to be launched or captured.
  void enter(Part part);
  // All operations are on the stream, a graph included. Waits for them. Zeros where begin() said
  // that the step is not timed.
  PartSeconds end();

 private:
  // Where parts begin, in order.
  struct Marks {
    std::vector<Part> parts;
    std::vector<Event> events;  // at least as many; kept for the next step of the key
  };

  Event make_timing_event() const;

  cudaStream_t stream_;
  int device_;
  std::map<std::optional<StepKey>, Marks> marks_;
  Event last_;             // behind the last operation; null until it is needed
  Marks* step_ = nullptr;  // of the step that has begun; null: it is not timed
  Mode mode_ = Mode::kLaunched;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_STEP_TIMER_H_
