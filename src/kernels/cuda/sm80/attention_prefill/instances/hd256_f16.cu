#include "kernels/cuda/sm80/attention_prefill/launch.cuh"

template void hopskip::cuda::sm80::launch_prefill<__half, 256>(const hopskip::cuda::Launch&);
