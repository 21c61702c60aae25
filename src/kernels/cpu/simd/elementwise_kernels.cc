#include "kernels/cpu/simd/elementwise_kernels.h"

namespace hopskip {

const ElementwiseKernels& scalar_elementwise_kernels();
const ElementwiseKernels& avx2_elementwise_kernels();
const ElementwiseKernels& avx512_elementwise_kernels();

const ElementwiseKernels& elementwise_kernels(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512Bf16:
      return avx512_elementwise_kernels();
    case SimdLevel::kAvx2:
      return avx2_elementwise_kernels();
    case SimdLevel::kScalar:
      break;
  }
  return scalar_elementwise_kernels();
}

}  // namespace hopskip
