#include "kernels/cuda/sm80/attention_decode/launch.cuh"

template void hopskip::cuda::sm80::launch_decode<__nv_bfloat16, hopskip::cuda::sm80::Fp8, 128>(
    const hopskip::cuda::Launch&);
