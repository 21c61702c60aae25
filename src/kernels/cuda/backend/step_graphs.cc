#include "kernels/cuda/backend/step_graphs.h"

#include <utility>

#include "base/check.h"

namespace hopskip::cuda {

void StepGraphs::begin(std::optional<StepKey> key) {
  abandon();
  signature_ = 0;
  key_ = key;
  const auto known = key ? graphs_.find(*key) : graphs_.end();
  if (known == graphs_.end()) {
    return;
  }
  if (known->second.graph != nullptr) {
    mode_ = Mode::kReplay;
    return;
  }
  check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capture a step");
  mode_ = Mode::kCapture;
}

bool StepGraphs::launches(std::initializer_list<uint64_t> operation) {
  for (uint64_t value : operation) {  // FNV-1a on words, with a shift to spread high bits
    signature_ = (signature_ ^ value) * 0x100000001b3u;
    signature_ ^= signature_ >> 29;
  }
  if (mode_ == Mode::kReplay) {
    return false;
  }
  before_launch_(*operation.begin());
  return true;
}

void StepGraphs::end() {
  const Mode mode = std::exchange(mode_, Mode::kDirect);
  const std::optional<StepKey> key = std::exchange(key_, std::nullopt);
  if (mode == Mode::kDirect) {
    if (key) {
      graphs_.try_emplace(*key);
    }
    return;
  }
  auto entry = graphs_.extract(*key);  // comes back if nothing below fails
  Entry& graph = entry.mapped();
  if (mode == Mode::kCapture) {
    cudaGraph_t captured = nullptr;
    check_cuda(cudaStreamEndCapture(stream_, &captured), "capture a step");
    const Graph owner(captured);
    cudaGraphExec_t exec = nullptr;
    check_cuda(cudaGraphInstantiate(&exec, owner.get(), 0), "instantiate a step's graph");
    graph.graph.reset(exec);
    graph.signature = signature_;
  }
  check(graph.signature == signature_, ErrorCode::kInternal,
        "a step of {} tokens differs from the one that was captured; the next one is captured anew",
        key->num_tokens);
  check_cuda(cudaGraphLaunch(graph.graph.get(), stream_), "launch a step's graph");
  graphs_.insert(std::move(entry));
}

void StepGraphs::abandon() {
  const Mode mode = std::exchange(mode_, Mode::kDirect);
  const std::optional<StepKey> key = std::exchange(key_, std::nullopt);
  if (mode == Mode::kCapture) {
    cudaGraph_t captured = nullptr;
    cudaStreamEndCapture(stream_, &captured);  // an error: there is nothing to destroy
    cudaGetLastError();
    if (captured != nullptr) {
      cudaGraphDestroy(captured);
    }
    graphs_.erase(*key);
  }
}

}  // namespace hopskip::cuda
