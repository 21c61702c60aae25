// Kernels that start while the one before them in the stream still runs (CUDA's programmatic
// dependent launch, Hopper and later): they fetch what no kernel writes, such as weights, and wait
// before they touch what the kernel before writes. Every such kernel calls wait_for_previous(): in
// some thread of each CTA at least, whether it needs the result or not, and in each thread that
// does. Data of the kernel before must not be read through __ldg: it changes while this kernel
// lives.
//
// A kernel lets the next one start behind its own wait, in no other place. So when a kernel starts,
// all that came before the kernel before it has ended, and may be read before the wait; through L2
// (__ldcg), for L1 may know it from earlier. Where the kernel before may be anybody's, only what no
// kernel writes may be read: a plan that was copied, for instance.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_OVERLAP_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_OVERLAP_CUH_

#include <cuda_runtime_api.h>

#include <string_view>
#include <utility>

#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/device.h"

namespace hopskip::cuda {

// Until every kernel before this one has ended and what it wrote can be seen. From then on the next
// kernel may start wherever there is room. Not sooner: kernels that are far from their turn would
// take the places of those that are not.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// overlaps: whether it starts early; those that gain nothing by it need not.
template <typename... Params, typename... Args>
void launch_overlapped_if(bool overlaps, std::string_view name, void (*kernel)(Params...),
                          dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                          Args&&... args) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = overlaps && launches_overlap() ? 1 : 0;
  check_launch(cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...), name);
}

template <typename... Args>
void launch_overlapped(std::string_view name, Args&&... args) {
  launch_overlapped_if(true, name, std::forward<Args>(args)...);
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_OVERLAP_CUH_
