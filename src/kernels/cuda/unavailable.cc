// include/hopskip/attention.h in a build without CUDA.
#include "base/check.h"
#include "hopskip/attention.h"

namespace hopskip {
namespace {

constexpr const char* kWhyNot =
    "this build has no CUDA kernels; 'tools/build.sh release' builds them where CUDA is installed "
    "(docs/howto/building.md)";

}  // namespace

struct Attention::Impl {
  AttentionConfig config;
};

Attention::Attention(const AttentionConfig&) { fail(ErrorCode::kUnsupported, "{}", kWhyNot); }
Attention::~Attention() = default;
Attention::Attention(Attention&&) noexcept = default;
Attention& Attention::operator=(Attention&&) noexcept = default;

// No object exists, so none of these is ever called.
void Attention::plan(std::span<const PlannedSequence>, CudaStream) {}
void Attention::run(const AttentionTensors&, CudaStream) const {}
const AttentionConfig& Attention::config() const { return impl_->config; }
std::string Attention::kernel() const { return {}; }
std::string Attention::tile_plan() const { return {}; }
int64_t Attention::skip_map_bytes() const { return 0; }
int64_t Attention::skip_map_offset(int64_t) const { return 0; }

std::vector<AttentionCandidate> attention_candidates(const AttentionConfig&) {
  return {{"GPU attention", kWhyNot}};
}

std::vector<GpuInfo> list_gpus() { return {}; }

}  // namespace hopskip
