#include "kernels/cuda/sm90/attention_prefill/launch.cuh"

template void hopskip::cuda::sm90::launch_prefill<__nv_bfloat16, 256>(const Launch&);
