#include <cmath>

#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/smxx/argmax/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 1024;

struct Best {
  float value = -INFINITY;
  int32_t id = 0;  // what a row without any number gets

  __device__ void meet(float other, int32_t other_id) {
    if (other > value || (other == value && other_id < id)) {
      value = other;
      id = other_id;
    }
  }
  __device__ void meet_warp() {
    HOPSKIP_UNROLL
    for (int distance = 16; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(0xffffffff, value, distance);
      meet(other, __shfl_xor_sync(0xffffffff, id, distance));
    }
  }
};

// A CTA reads a row.
__global__ void __launch_bounds__(kThreads) argmax(const ArgmaxArgs args, bool lines) {
  __shared__ float s_values[kThreads / 32];
  __shared__ int32_t s_ids[kThreads / 32];
  const float* row = args.logits + blockIdx.x * args.stride;
  const int chunks = static_cast<int>(chunks_of(args.vocab));
  Best best;
  HOPSKIP_UNROLL_BY(4)
  for (int chunk = threadIdx.x; chunk < chunks; chunk += kThreads) {
    const int first = chunk * kChunk;
    const int count = args.vocab - first;
    float r[kChunk];
    load_chunk(row + first, count, lines, r);
    HOPSKIP_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      if (i < count) {
        best.meet(r[i], first + i);
      }
    }
  }
  best.meet_warp();
  if (threadIdx.x % 32 == 0) {
    s_values[threadIdx.x / 32] = best.value;
    s_ids[threadIdx.x / 32] = best.id;
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    best = {s_values[threadIdx.x], s_ids[threadIdx.x]};
    best.meet_warp();
    if (threadIdx.x == 0) {
      args.ids[blockIdx.x] = best.id;
    }
  }
}

}  // namespace smxx

void launch_argmax(const ArgmaxArgs& args, CudaStream stream) {
  if (args.rows == 0) {
    return;
  }
  const bool lines = on_lines<float>(args.logits, args.stride);
  smxx::argmax<<<static_cast<unsigned>(args.rows), smxx::kThreads, 0, stream>>>(args, lines);
  check_launch(cudaGetLastError(), "argmax");
}

}  // namespace hopskip::cuda
