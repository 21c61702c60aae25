// Angles of rotary embeddings.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_ROTATION_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_ROTATION_CUH_

#include <cstdint>

namespace hopskip::cuda {

// cos and sin of position · inv_freq. A float has 24 bits for that product: at a position of a
// million the angle would be off by 0.03. In fp64 the product is exact, and what remains of it
// after whole turns is small enough for floats.
__device__ inline float2 rotation(int32_t position, float inv_freq, float magnitude) {
  constexpr double kTurnsOfRadian = 0.15915494309189533577;  // 1 / (2 π)
  const double turns =
      static_cast<double>(position) * static_cast<double>(inv_freq) * kTurnsOfRadian;
  float sine;
  float cosine;
  sincospif(static_cast<float>(2.0 * (turns - rint(turns))), &sine, &cosine);
  return {cosine * magnitude, sine * magnitude};
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_ROTATION_CUH_
