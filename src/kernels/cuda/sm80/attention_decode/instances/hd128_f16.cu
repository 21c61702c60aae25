#include "kernels/cuda/sm80/attention_decode/launch.cuh"

template void hopskip::cuda::sm80::launch_decode<__half, __half, 128>(const hopskip::cuda::Launch&);
