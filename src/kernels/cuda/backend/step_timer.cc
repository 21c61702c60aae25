#include "kernels/cuda/backend/step_timer.h"

#include <utility>

namespace hopskip::cuda {

Event StepTimer::make_timing_event() const {
  const DeviceScope scope(device_);
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreate(&event), "create an event");
  return Event(event);
}

void StepTimer::begin(bool timed, const std::optional<StepKey>& key, Mode mode) {
  step_ = timed ? &marks_[key] : nullptr;
  mode_ = mode;
  if (timed && last_ == nullptr) {
    last_ = make_timing_event();
  }
  if (timed && mode != Mode::kReplayed) {  // a replay records what its graph holds
    step_->parts.clear();
  }
}

void StepTimer::enter(Part part) {
  if (step_ == nullptr || mode_ == Mode::kReplayed ||
      (!step_->parts.empty() && step_->parts.back() == part)) {
    return;
  }
  const size_t index = step_->parts.size();
  if (index == step_->events.size()) {  // before a capture, the step that was launched made them
    step_->events.push_back(make_timing_event());
  }
  check_cuda(cudaEventRecordWithFlags(
                 step_->events[index].get(), stream_,
                 mode_ == Mode::kCaptured ? cudaEventRecordExternal : cudaEventRecordDefault),
             "time a step");
  step_->parts.push_back(part);
}

PartSeconds StepTimer::end() {
  PartSeconds seconds;
  const Marks* step = std::exchange(step_, nullptr);
  if (step == nullptr || step->parts.empty()) {
    return seconds;
  }
  check_cuda(cudaEventRecord(last_.get(), stream_), "time a step");
  check_cuda(cudaEventSynchronize(last_.get()), "run a step");
  for (size_t i = 0; i < step->parts.size(); ++i) {
    const Event& next = i + 1 < step->parts.size() ? step->events[i + 1] : last_;
    float milliseconds = 0.0f;
    check_cuda(cudaEventElapsedTime(&milliseconds, step->events[i].get(), next.get()),
               "time a step");
    seconds[step->parts[i]] += 1e-3 * double{milliseconds};
  }
  return seconds;
}

}  // namespace hopskip::cuda
