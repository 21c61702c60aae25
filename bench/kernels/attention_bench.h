// Measures CPU attention on inputs whose skipped share is known.
#ifndef HOPSKIP_BENCH_KERNELS_ATTENTION_BENCH_H_
#define HOPSKIP_BENCH_KERNELS_ATTENTION_BENCH_H_

#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace hopskip::bench {

struct AttentionBenchCase {
  int num_heads = 9;
  int num_kv_heads = 3;
  int head_dim = 64;
  int64_t q_len = 8192;
  int64_t kv_len = 8192;
  Phase phase = Phase::kPrefill;
  // This share of stretches of `stretch` keys, at random places of every head, lies 20 nats lower.
  int stretch = 16;
  double cold_share = 0.0;
  // Decode measures all layers in turn, so that no cache holds a layer from one step to the next.
  int layers = 1;
};

// "prefill 9/3x64, 8192 on 8192 keys, 50 % cold in stretches of 16".
std::string to_string(const AttentionBenchCase& c);

struct AttentionBenchResult {
  double seconds = 0.0;        // one call for each layer, median
  double dense_seconds = 0.0;  // the same inputs with a threshold of −inf, in turn with the others
  double spread = 0.0;         // (slowest − fastest) / median
  double skipped = 0.0;        // share of visible tiles
  double flops = 0.0;          // dense work of all layers; causal attention counts its half
  double bytes = 0.0;          // K and V that all layers hold
};

// Throws Internal when a spot check of some rows against the fp64 reference fails: a wrong kernel
// has no speed. `repeats` runs of each kind are measured after one that is not.
AttentionBenchResult run_attention_bench(const AttentionBenchCase& c, const BackendOptions& options,
                                         int repeats);

// The cases of docs/kernels/cpu_attention.md.
std::vector<AttentionBenchCase> attention_bench_cases();

}  // namespace hopskip::bench

#endif  // HOPSKIP_BENCH_KERNELS_ATTENTION_BENCH_H_
