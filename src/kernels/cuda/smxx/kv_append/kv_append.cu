#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/pack_fp8.cuh"
#include "kernels/cuda/smxx/kv_append/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;
// A thread has so many loads of 16 bytes on their way at once.
constexpr int kChunksAtOnce = 2;

__device__ inline void write_element(__nv_bfloat16* g, __nv_bfloat16 value, float /*inverse*/) {
  *g = value;
}
__device__ inline void write_element(Fp8* g, __nv_bfloat16 value, float inverse) {
  g->bits = static_cast<uint8_t>(pack_e4m3(__bfloat162float(value) * inverse, 0.0f));
}

// blockIdx.y: 0 for keys, 1 for values. threadIdx.x goes along a row, threadIdx.y over tokens.
// kLines: rows of both lie on lines of 16 bytes and are whole chunks.
template <typename Cache, bool kLines>
__global__ void __launch_bounds__(kThreads)
    kv_append(const KvAppendArgs args, float k_inverse, float v_inverse) {
  wait_for_previous();
  const bool values = blockIdx.y == 1;
  const auto* from = static_cast<const __nv_bfloat16*>(values ? args.v : args.k);
  auto* cache = static_cast<Cache*>(values ? args.v_cache : args.k_cache);
  const int64_t stride = values ? args.v_stride : args.k_stride;
  const float inverse = values ? v_inverse : k_inverse;
  const int first = static_cast<int>(threadIdx.x);
  const int apart = static_cast<int>(blockDim.x);
  for (int64_t token = blockIdx.x * int64_t{blockDim.y} + threadIdx.y; token < args.tokens;
       token += gridDim.x * int64_t{blockDim.y}) {
    const int64_t slot = args.slots[token];
    if (slot < 0) {
      continue;
    }
    const __nv_bfloat16* row = from + token * stride;
    Cache* to = cache + slot * args.cols;
    if constexpr (!kLines) {
      for (int col = first; col < args.cols; col += apart) {
        write_element(to + col, row[col], inverse);
      }
    } else {
      const int chunks = args.cols / kChunk;
      for (int chunk = first; chunk < chunks; chunk += kChunksAtOnce * apart) {
        uint4 lines[kChunksAtOnce];
        HOPSKIP_UNROLL
        for (int i = 0; i < kChunksAtOnce; ++i) {
          if (chunk + i * apart < chunks) {
            lines[i] = reinterpret_cast<const uint4*>(row)[chunk + i * apart];
          }
        }
        HOPSKIP_UNROLL
        for (int i = 0; i < kChunksAtOnce; ++i) {
          if (chunk + i * apart < chunks) {
            write_line(to + (chunk + i * apart) * kChunk, lines[i], inverse);
          }
        }
      }
    }
  }
}

template <typename Cache>
void launch_for(const KvAppendArgs& args, bool lines, dim3 grid, dim3 block, CudaStream stream) {
  const float k_inverse = 1.0f / args.k_scale;
  const float v_inverse = 1.0f / args.v_scale;
  launch_overlapped("kv_append", lines ? kv_append<Cache, true> : kv_append<Cache, false>, grid,
                    block, 0, stream, args, k_inverse, v_inverse);
}

}  // namespace smxx

void launch_kv_append(const KvAppendArgs& args, CudaStream stream) {
  const int64_t chunks = chunks_of(args.cols);
  if (args.tokens * chunks == 0) {
    return;
  }
  const bool lines = args.cols % kChunk == 0 && on_lines<__nv_bfloat16>(args.k, args.k_stride) &&
                     on_lines<__nv_bfloat16>(args.v, args.v_stride) &&
                     on_lines<__nv_bfloat16>(args.k_cache, 0) &&
                     on_lines<__nv_bfloat16>(args.v_cache, 0);
  // The power of two of threads whose chunks cover a row.
  unsigned along = 1;
  while (along < smxx::kThreads && along * smxx::kChunksAtOnce < chunks) {
    along *= 2;
  }
  const dim3 block(along, smxx::kThreads / along);
  const dim3 grid(grid_for(args.tokens, static_cast<int>(block.y)), 2);
  if (args.cache_is_fp8) {
    smxx::launch_for<Fp8>(args, lines, grid, block, stream);
  } else {
    smxx::launch_for<__nv_bfloat16>(args, lines, grid, block, stream);
  }
}

}  // namespace hopskip::cuda
