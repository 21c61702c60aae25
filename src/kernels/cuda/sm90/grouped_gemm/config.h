// Tile sizes of Hopper's grouped GEMM.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_CONFIG_H_
#define HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_CONFIG_H_

#include "kernels/cuda/sm90/grouped_gemm/launch.h"

namespace hopskip::cuda::sm90 {

// A tile of 128 x 256 does 85 operations for each byte that it reads of L2, one of 128 x 128 64.
inline constexpr int kGemmConsumers = 2;  // warpgroups of 64 rows
inline constexpr int kGemmHalf = 128;     // weight rows of one copy: a tile has two, gate and up
inline constexpr int kGemmCols = 2 * kGemmHalf;
inline constexpr int kGemmDepth = 64;  // of the inner dimension in a stage: one swizzle width
inline constexpr int kGemmStages = 4;  // of 48 KB
inline constexpr int kGemmThreads = 128 * (1 + kGemmConsumers);
// 128 accumulators and little else.
inline constexpr int kGemmConsumerRegisters = 232;
inline constexpr int kGemmProducerRegisters = 40;
static_assert(kGroupedGemmRows == 64 * kGemmConsumers);

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_CONFIG_H_
