// gpu_attention_bench.h in a build without CUDA.
#include "base/check.h"
#include "bench/kernels/gpu_attention_bench.h"

namespace hopskip::bench {

GpuAttentionResult run_gpu_attention_bench(const GpuAttentionCase&, int, int) {
  fail(ErrorCode::kUnsupported, "this build has no CUDA kernels");
}

}  // namespace hopskip::bench
