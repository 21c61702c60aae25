#include <cuda_fp16.h>

#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/fp8.cuh"
#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/smxx/kv_expand/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kExpandThreads = 256;
// A thread has so many loads of 8 bytes on their way at once. Wider ones would tear a warp's stores
// apart: two thirds of the bytes are written, in adjacent vectors of 16.
constexpr int kExpandAtOnce = 4;

// Elements 2i and 2i + 1 of a chunk.
template <int kPair>
__device__ inline void unpack_pair(uint2 words, float scale, float (&r)[kChunk]) {
  const uint32_t halves = e4m3_pair_to_f16x2<2 * kPair, 2 * kPair + 1>(words.x, words.y);
  r[2 * kPair] = scale * __half2float(__ushort_as_half(static_cast<uint16_t>(halves)));
  r[2 * kPair + 1] = scale * __half2float(__ushort_as_half(static_cast<uint16_t>(halves >> 16)));
}

// blockIdx.x: the page; blockIdx.y: its part; blockIdx.z: 0 for keys, 1 for values.
__global__ void __launch_bounds__(kExpandThreads) kv_expand(const KvExpandArgs args) {
  const bool values = blockIdx.z == 1;
  const float scale = values ? args.v_scale : args.k_scale;
  const int64_t page = args.pages[blockIdx.x];
  const auto* g_from = reinterpret_cast<const uint2*>(
      static_cast<const uint8_t*>(values ? args.v_cache : args.k_cache) +
      page * args.page_elements);
  auto* g_to =
      reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(values ? args.v_out : args.k_out) +
                               blockIdx.x * args.page_elements);
  const int chunks = static_cast<int>(args.page_elements / kChunk);
  const int apart = static_cast<int>(gridDim.y) * kExpandThreads;  // of a thread's chunks
  for (int first = static_cast<int>(blockIdx.y) * kExpandThreads + static_cast<int>(threadIdx.x);
       first < chunks; first += kExpandAtOnce * apart) {
    uint2 words[kExpandAtOnce];
    HOPSKIP_UNROLL
    for (int i = 0; i < kExpandAtOnce; ++i) {
      const int chunk = first + i * apart;
      words[i] = chunk < chunks ? g_from[chunk] : uint2{0, 0};
    }
    HOPSKIP_UNROLL
    for (int i = 0; i < kExpandAtOnce; ++i) {
      const int chunk = first + i * apart;
      if (chunk < chunks) {
        float r[kChunk];
        unpack_pair<0>(words[i], scale, r);
        unpack_pair<1>(words[i], scale, r);
        unpack_pair<2>(words[i], scale, r);
        unpack_pair<3>(words[i], scale, r);
        g_to[chunk] = pack_bf16(r);
      }
    }
  }
}

}  // namespace smxx

void launch_kv_expand(const KvExpandArgs& args, CudaStream stream) {
  constexpr int64_t kPartElements = int64_t{smxx::kExpandThreads} * smxx::kExpandAtOnce * kChunk;
  constexpr int64_t kMostParts = 1 << 15;
  if (args.num_pages == 0 || args.page_elements == 0) {
    return;
  }
  const int64_t parts = (args.page_elements + kPartElements - 1) / kPartElements;
  const dim3 grid(static_cast<unsigned>(args.num_pages),
                  static_cast<unsigned>(parts < kMostParts ? parts : kMostParts), 2);
  smxx::kv_expand<<<grid, smxx::kExpandThreads, 0, stream>>>(args);
  check_launch(cudaGetLastError(), "kv_expand");
}

}  // namespace hopskip::cuda
