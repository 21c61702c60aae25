#include "kernels/cuda/sm90/attention_decode/launch.cuh"

template void hopskip::cuda::sm90::launch_decode<__half, hopskip::cuda::sm90::Fp8, 256>(
    const hopskip::cuda::Launch&);
