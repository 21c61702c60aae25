// What each part of a step takes on the host.
#ifndef HOPSKIP_KERNELS_HOST_CLOCK_H_
#define HOPSKIP_KERNELS_HOST_CLOCK_H_

#include <chrono>
#include <optional>

#include "kernels/backend.h"

namespace hopskip {

// Operations run one after the other and each says at its beginning what it belongs to.
class HostClock {
 public:
  void begin_step(const StepInputs& inputs) {
    part_.reset();
    seconds_ = {};
    timed_ = inputs.timed;
  }
  void enter(Part part) {
    if (timed_) {
      count();
      part_ = part;
    }
  }
  void end_step(Step& step) {
    if (timed_) {
      count();
      step.set_seconds(seconds_);
      timed_ = false;
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  // The time since the last call goes to the part that has run since.
  void count() {
    const Clock::time_point now = Clock::now();
    if (part_) {
      seconds_[*part_] += std::chrono::duration<double>(now - last_).count();
    }
    last_ = now;
  }

  bool timed_ = false;
  std::optional<Part> part_;  // that runs; none: nothing has run yet
  Clock::time_point last_{};
  PartSeconds seconds_;
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_HOST_CLOCK_H_
