#include "kernels/cpu/simd/elementwise_instance.h"

namespace hopskip {

const ElementwiseKernels& avx512_elementwise_kernels() { return kElementwise; }

}  // namespace hopskip
