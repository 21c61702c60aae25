// Measures GPU attention on inputs whose skipped share is known.
#ifndef HOPSKIP_BENCH_KERNELS_GPU_ATTENTION_BENCH_H_
#define HOPSKIP_BENCH_KERNELS_GPU_ATTENTION_BENCH_H_

#include <string>

#include "hopskip/attention.h"

namespace hopskip::bench {

// BF16 everywhere. K and V of `batch` sequences are contiguous in prefill; in decode they lie in
// pages of 64 tokens, scattered over the whole pool.
struct GpuAttentionCase {
  Phase phase = Phase::kPrefill;
  int num_heads = 32;
  int num_kv_heads = 8;
  int head_dim = 128;
  int64_t batch = 1;
  int64_t kv_len = 16384;
  // This share of stretches of `stretch` keys, at random places of every head, lies 20 nats lower.
  int stretch = 16;
  double cold_share = 0.0;
};

struct GpuAttentionResult {
  std::string kernel;
  std::string tile_plan;
  double seconds = 0.0;        // one call, median
  double dense_seconds = 0.0;  // the same inputs with a factor of 0, in turn with the others
  double skipped = 0.0;        // share of visible tiles
  double flops = 0.0;          // dense work; causal attention counts its half
  double bytes = 0.0;          // that K and V have
};

// Throws Internal when a spot check of some rows against the fp64 reference fails, and what
// Attention throws; Unsupported in a build without CUDA. `repeats` runs of each kind are measured,
// the L2 cache flushed before each.
GpuAttentionResult run_gpu_attention_bench(const GpuAttentionCase& c, int device, int repeats);

}  // namespace hopskip::bench

#endif  // HOPSKIP_BENCH_KERNELS_GPU_ATTENTION_BENCH_H_
