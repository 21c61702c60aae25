#include "kernels/cuda/sm80/attention_decode/launch.cuh"

template void hopskip::cuda::sm80::launch_decode<__half, hopskip::cuda::sm80::Fp8, 64>(
    const hopskip::cuda::Launch&);
