#include "kernels/cuda/backend/step_graphs.h"

#include <utility>

#include "base/check.h"

namespace hopskip::cuda {

void StepGraphs::begin(std::optional<StepKey> key) {
  abandon();
  signature_ = 0;
  if (!key) {
    return;
  }
  key_ = *key;
  const auto [entry, is_new] = graphs_.try_emplace(key_);
  if (is_new) {
    return;
  }
  if (entry->second.graph != nullptr) {
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
  return mode_ != Mode::kReplay;
}

void StepGraphs::end() {
  const Mode mode = std::exchange(mode_, Mode::kDirect);
  if (mode == Mode::kDirect) {
    return;
  }
  Entry& entry = graphs_.at(key_);
  if (mode == Mode::kCapture) {
    cudaGraph_t captured = nullptr;
    check_cuda(cudaStreamEndCapture(stream_, &captured), "capture a step");
    const Graph graph(captured);
    cudaGraphExec_t exec = nullptr;
    check_cuda(cudaGraphInstantiate(&exec, graph.get(), 0), "instantiate a step's graph");
    entry.graph.reset(exec);
    entry.signature = signature_;
  }
  if (entry.signature != signature_) {
    graphs_.erase(key_);
    fail(ErrorCode::kInternal,
         "a step of {} tokens differs from the one that was captured; the next one is captured "
         "anew",
         key_.num_tokens);
  }
  check_cuda(cudaGraphLaunch(entry.graph.get(), stream_), "launch a step's graph");
}

void StepGraphs::abandon() {
  const Mode mode = std::exchange(mode_, Mode::kDirect);
  if (mode == Mode::kCapture) {
    cudaGraph_t captured = nullptr;
    cudaStreamEndCapture(stream_, &captured);  // an error: there is nothing to destroy
    cudaGetLastError();
    if (captured != nullptr) {
      cudaGraphDestroy(captured);
    }
  }
}

}  // namespace hopskip::cuda
