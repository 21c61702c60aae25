#include "kernels/cuda/sm80/attention_decode/launch.cuh"

template void hopskip::cuda::sm80::launch_decode<__nv_bfloat16, __nv_bfloat16, 64>(
    const hopskip::cuda::Launch&);
