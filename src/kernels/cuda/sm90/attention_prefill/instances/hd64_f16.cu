#include "kernels/cuda/sm90/attention_prefill/launch.cuh"

template void hopskip::cuda::sm90::launch_prefill<__half, 64>(const Launch&);
