// A position in a ring of stages that a producer fills and consumers empty.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_RING_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_RING_CUH_

#include <cstdint>

namespace hopskip::cuda {

template <int kStages>
struct Ring {
  int stage = 0;
  uint32_t phase = 0;  // parity of the rounds so far: what mbarrier_wait takes
  __device__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_RING_CUH_
