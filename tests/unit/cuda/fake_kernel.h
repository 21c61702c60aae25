// A kernel of which only the host side exists.
#ifndef HOPSKIP_TESTS_UNIT_CUDA_FAKE_KERNEL_H_
#define HOPSKIP_TESTS_UNIT_CUDA_FAKE_KERNEL_H_

#include "kernels/cuda/kernel.h"

namespace hopskip::cuda::test {

inline AttentionKernel fake_kernel(Phase phase) {
  AttentionKernel kernel{};
  kernel.name = "fake";
  kernel.phase = phase;
  kernel.tile_plan = [](const AttentionConfig&, int split_keys) {
    return split_keys > 0
               ? TilePlan{1, 1, 16, 64, VisitOrder::kFirstToLast, MaxSeed::kEnds, split_keys}
               : TilePlan{64, 1, 16, 128};
  };
  kernel.rows_per_item = [](const AttentionConfig&) { return 128; };
  kernel.split_multiple = 64;
  kernel.ctas_per_multiprocessor = [](const AttentionConfig&) { return 1; };
  return kernel;
}

inline AttentionConfig valid_config(Phase phase) {
  AttentionConfig config;
  config.phase = phase;
  config.num_heads = 8;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.page_size = 64;
  config.max_sequences = 4;
  config.max_pages = 1000;
  return config;
}

}  // namespace hopskip::cuda::test

#endif  // HOPSKIP_TESTS_UNIT_CUDA_FAKE_KERNEL_H_
