#include "kernels/cpu/simd/linear_kernels.h"

namespace hopskip {

const LinearKernels& scalar_linear_kernels();
const LinearKernels& avx2_linear_kernels();
const LinearKernels& avx512_linear_kernels();

const LinearKernels& linear_kernels(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512Bf16:
      return avx512_linear_kernels();
    case SimdLevel::kAvx2:
      return avx2_linear_kernels();
    case SimdLevel::kScalar:
      break;
  }
  return scalar_linear_kernels();
}

}  // namespace hopskip
