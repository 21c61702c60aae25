#include "kernels/cpu/cpu_backend.h"

#include "base/check.h"
#include "kernels/contract.h"
#include "kernels/cpu/weight.h"

namespace hopskip {

CpuBackend::CpuBackend(const BackendOptions& options)
    : level_(parse_simd_level(options.simd)),
      pool_(options.threads),
      elementwise_(pool_, level_),
      linear_(pool_, level_),
      attention_(pool_, level_, options.tile_plans),
      moe_(elementwise_, linear_) {}

std::string CpuBackend::description() const {
  return fmt::format("cpu ({}, {} thread{})", simd_level_name(level_), pool_.size(),
                     pool_.size() == 1 ? "" : "s");
}

HostBytes CpuBackend::host_bytes(std::span<const TensorView> weights, const KvConfig& kv) const {
  HostBytes bytes{.kv_cache = kv.num_pages * kv.bytes_per_page()};
  for (const TensorView& view : weights) {
    const int64_t taken = CpuWeight::bytes_taken(view);
    bytes.weights += taken;
    bytes.mapped += taken > 0 ? 0 : view.bytes();
  }
  return bytes;
}

WeightPtr CpuBackend::load(const TensorView& view) {
  return std::make_unique<CpuWeight>(pool_, weights_, view);
}

WeightPtr CpuBackend::load_experts(std::span<const TensorView> experts) {
  return load_cpu_experts(pool_, weights_, experts);
}

std::span<const float> CpuBackend::read(Matrix x) {
  check(x.stride == x.cols, ErrorCode::kInvalidArgument, "read: the rows are not adjacent");
  return {x.values(), static_cast<size_t>(x.rows * x.cols)};
}

CandidateRows CpuBackend::read_candidates(Matrix candidates) {
  check_read_candidates(candidates);
  return {static_cast<const Candidate*>(candidates.data), candidates.rows,
          candidate_count(candidates.cols)};
}

}  // namespace hopskip
