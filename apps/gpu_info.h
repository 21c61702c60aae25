// What `hopskip info` says about GPUs.
#ifndef HOPSKIP_APPS_GPU_INFO_H_
#define HOPSKIP_APPS_GPU_INFO_H_

namespace hopskip::apps {

// The GPUs, which attention kernel runs for usual shapes, and what the engine runs with beside it;
// explain: why each other kernel does not run.
// Without a GPU, or without kernels in this build: the reason.
void print_gpus(bool explain);

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_GPU_INFO_H_
