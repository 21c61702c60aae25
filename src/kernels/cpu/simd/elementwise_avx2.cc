#include "kernels/cpu/simd/elementwise_instance.h"

namespace hopskip {

const ElementwiseKernels& avx2_elementwise_kernels() { return kElementwise; }

}  // namespace hopskip
