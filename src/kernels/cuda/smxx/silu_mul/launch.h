// out = silu(gate) · up.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_SILU_MUL_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_SILU_MUL_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"

namespace hopskip::cuda {

// All BF16, rows `…_stride` elements apart.
struct SiluMulArgs {
  const void* gate;  // [rows][cols]
  const void* up;    // [rows][cols]
  void* out;         // [rows][cols]; may be gate or up
  int64_t rows;
  int64_t cols;
  int64_t gate_stride;
  int64_t up_stride;
  int64_t out_stride;
};

void launch_silu_mul(const SiluMulArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_SILU_MUL_LAUNCH_H_
