#include "kernels/cpu/simd/elementwise_instance.h"

namespace hopskip {

const ElementwiseKernels& scalar_elementwise_kernels() { return kElementwise; }

}  // namespace hopskip
