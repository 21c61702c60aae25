// A random tensor's values, written where they will be used.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_RANDOM_FILL_LAUNCH_H_
#define HOPSKIP_KERNELS_CUDA_SMXX_RANDOM_FILL_LAUNCH_H_

#include <cstdint>

#include "hopskip/attention.h"
#include "tensor/random_tensor.h"

namespace hopskip::cuda {

struct RandomFillArgs {
  RandomTensor tensor;
  void* out;         // [elements], BF16 or F32, all rounded to BF16
  int64_t elements;  // whole rows of the tensor
  bool out_is_f32;
};

void launch_random_fill(const RandomFillArgs& args, CudaStream stream);

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_RANDOM_FILL_LAUNCH_H_
