#include <cuda_fp8.h>

#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/smxx/kv_append/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;

struct Fp8 {
  uint8_t bits;
};

__device__ inline uint8_t to_fp8(float value) {
  return __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
}

__device__ inline void write_chunk(__nv_bfloat16* g, int count, bool lines,
                                   const float (&r)[kChunk], float /*scale*/) {
  store_chunk(g, count, lines, r);
}
__device__ inline void write_chunk(Fp8* g, int count, bool lines, const float (&r)[kChunk],
                                   float scale) {
  if (lines && count >= kChunk) {
    uint32_t words[2] = {0, 0};
    HOPSKIP_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      words[i / 4] |= uint32_t{to_fp8(r[i] / scale)} << 8 * (i % 4);
    }
    *reinterpret_cast<uint2*>(g) = {words[0], words[1]};
    return;
  }
  HOPSKIP_UNROLL
  for (int i = 0; i < kChunk; ++i) {
    if (i < count) {
      g[i].bits = to_fp8(r[i] / scale);
    }
  }
}

// blockIdx.y: 0 for keys, 1 for values.
template <typename Cache>
__global__ void __launch_bounds__(kThreads) kv_append(const KvAppendArgs args, bool lines) {
  const bool values = blockIdx.y == 1;
  const auto* from = static_cast<const __nv_bfloat16*>(values ? args.v : args.k);
  auto* cache = static_cast<Cache*>(values ? args.v_cache : args.k_cache);
  const int64_t stride = values ? args.v_stride : args.k_stride;
  const float scale = values ? args.v_scale : args.k_scale;
  const int64_t row_chunks = chunks_of(args.cols);
  for (int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x; item < args.tokens * row_chunks;
       item += int64_t{gridDim.x} * kThreads) {
    const int64_t token = item / row_chunks;
    const int col = static_cast<int>(item % row_chunks) * kChunk;
    const int64_t slot = args.slots[token];
    if (slot >= 0) {
      float r[kChunk];
      load_chunk(from + token * stride + col, args.cols - col, lines, r);
      write_chunk(cache + slot * args.cols + col, args.cols - col, lines, r, scale);
    }
  }
}

}  // namespace smxx

void launch_kv_append(const KvAppendArgs& args, CudaStream stream) {
  const int64_t items = args.tokens * chunks_of(args.cols);
  if (items == 0) {
    return;
  }
  const bool lines = args.cols % kChunk == 0 && on_lines<__nv_bfloat16>(args.k, args.k_stride) &&
                     on_lines<__nv_bfloat16>(args.v, args.v_stride) &&
                     on_lines<__nv_bfloat16>(args.k_cache, 0) &&
                     on_lines<__nv_bfloat16>(args.v_cache, 0);
  const dim3 grid(grid_for(items, smxx::kThreads), 2);
  if (args.cache_is_fp8) {
    smxx::kv_append<smxx::Fp8><<<grid, smxx::kThreads, 0, stream>>>(args, lines);
  } else {
    smxx::kv_append<__nv_bfloat16><<<grid, smxx::kThreads, 0, stream>>>(args, lines);
  }
  check_launch(cudaGetLastError(), "kv_append");
}

}  // namespace hopskip::cuda
