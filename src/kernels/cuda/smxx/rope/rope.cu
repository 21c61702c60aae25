#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/rotation.cuh"
#include "kernels/cuda/smxx/rope/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 128;

// A CTA rotates all heads of a token: their angles are the same.
__global__ void __launch_bounds__(kThreads) rope(const RopeArgs args, bool lines) {
  let_next_start();
  wait_for_previous();
  extern __shared__ float2 s_rotations[];  // [half]
  const int64_t token = blockIdx.x;
  auto* x = static_cast<__nv_bfloat16*>(args.x) + token * args.stride;
  for (int i = threadIdx.x; i < args.half; i += kThreads) {
    s_rotations[i] = rotation(args.positions[token], args.inv_freq[i], args.magnitude);
  }
  __syncthreads();
  const int head_chunks = static_cast<int>(chunks_of(args.half));
  for (int item = threadIdx.x; item < args.heads * head_chunks; item += kThreads) {
    const int pair = item % head_chunks * kChunk;  // the first of eight
    const int count = min(kChunk, args.half - pair);
    __nv_bfloat16* head = x + int64_t{item / head_chunks} * args.head_dim;
    __nv_bfloat16* first = head + (args.interleaved ? 2 * pair : pair);
    __nv_bfloat16* second = first + (args.interleaved ? kChunk : args.half);
    const int first_count = args.interleaved ? min(kChunk, 2 * count) : count;
    const int second_count = args.interleaved ? max(0, 2 * count - kChunk) : count;
    float a[kChunk];
    float b[kChunk];
    load_chunk(first, first_count, lines, a);
    load_chunk(second, second_count, lines, b);
    const auto rotate = [&](int i, float& u, float& v) {
      if (i < count) {
        const float2 r = s_rotations[pair + i];
        const float turned = u * r.x - v * r.y;
        v = v * r.x + u * r.y;
        u = turned;
      }
    };
    if (args.interleaved) {
      HOPSKIP_UNROLL
      for (int i = 0; i < kChunk / 2; ++i) {
        rotate(i, a[2 * i], a[2 * i + 1]);
        rotate(kChunk / 2 + i, b[2 * i], b[2 * i + 1]);
      }
    } else {
      HOPSKIP_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        rotate(i, a[i], b[i]);
      }
    }
    store_chunk(first, first_count, lines, a);
    store_chunk(second, second_count, lines, b);
  }
}

}  // namespace smxx

void launch_rope(const RopeArgs& args, CudaStream stream) {
  if (args.tokens == 0 || args.heads == 0 || args.half == 0) {
    return;
  }
  const bool lines = on_lines<__nv_bfloat16>(args.x, args.stride) && args.head_dim % kChunk == 0 &&
                     (args.interleaved || args.half % kChunk == 0);
  launch_overlapped("rope", smxx::rope, dim3(static_cast<unsigned>(args.tokens)), smxx::kThreads,
                    args.half * sizeof(float2), stream, args, lines);
}

}  // namespace hopskip::cuda
