// A CTA has a token, or some of its heads where tokens are few: their angles are the same. A head's
// pairs (i, i + half) are shared by half / 8 lanes, eight neighbouring ones each.
#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/pack_fp8.cuh"
#include "kernels/cuda/common/reduce.cuh"
#include "kernels/cuda/common/rotation.cuh"
#include "kernels/cuda/smxx/rotate_append/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;
constexpr int kEnoughCtas = 512;

template <typename Cache, int kLanes>
__global__ void __launch_bounds__(kThreads)
    rotate_append(const __grid_constant__ RotateAppendArgs args, float k_inverse, float v_inverse) {
  constexpr int kHalf = kLanes * kChunk;
  constexpr int kHeadDim = 2 * kHalf;
  __shared__ float2 s_rotations[kHalf];
  // The inputs of a step are there before its first kernel.
  const int64_t token = blockIdx.x;
  const int64_t slot = args.slots[token];
  const int32_t position = args.positions[token];
  for (int i = threadIdx.x; i < kHalf; i += kThreads) {
    s_rotations[i] = rotation(position, args.inv_freq[i], args.magnitude);
  }
  __syncthreads();
  wait_for_previous();

  const int heads = args.q_heads + args.kv_heads;
  const int first = static_cast<int>(blockIdx.y) * kThreads + threadIdx.x;
  const int step = static_cast<int>(gridDim.y) * kThreads;
  const int pair = static_cast<int>(threadIdx.x) % kLanes * kChunk;
  // Whole warps take part in each round: lanes sum up together.
  for (int item = first; item - static_cast<int>(threadIdx.x % 32) < heads * kLanes; item += step) {
    const int head = item / kLanes;
    const bool exists = head < heads;
    const bool is_q = head < args.q_heads;
    const int64_t in_token = int64_t{is_q ? head : head - args.q_heads} * kHeadDim + pair;
    auto* from = is_q ? static_cast<__nv_bfloat16*>(args.q) + token * args.q_stride + in_token
                      : static_cast<__nv_bfloat16*>(const_cast<void*>(args.k)) +
                            token * args.k_stride + in_token;
    float a[kChunk];
    float b[kChunk];
    load_chunk(from, exists ? kChunk : 0, true, a);
    load_chunk(from + kHalf, exists ? kChunk : 0, true, b);
    const float* norm = is_q ? args.q_norm : args.k_norm;
    float squares = 0.0f;
    HOPSKIP_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      squares += a[i] * a[i] + b[i] * b[i];
    }
    squares = lanes_sum<kLanes>(squares);
    if (norm != nullptr) {
      const float factor = 1.0f / sqrtf(squares / kHeadDim + args.eps);
      float w_a[kChunk];
      float w_b[kChunk];
      load_chunk(norm + pair, kChunk, true, w_a);
      load_chunk(norm + kHalf + pair, kChunk, true, w_b);
      HOPSKIP_UNROLL
      for (int i = 0; i < kChunk; ++i) {
        a[i] *= factor * w_a[i];
        b[i] *= factor * w_b[i];
      }
    }
    HOPSKIP_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      const float2 r = s_rotations[pair + i];
      const float turned = a[i] * r.x - b[i] * r.y;
      b[i] = b[i] * r.x + a[i] * r.y;
      a[i] = turned;
    }
    if (exists && is_q) {
      store_chunk(from, kChunk, true, a);
      store_chunk(from + kHalf, kChunk, true, b);
    } else if (exists && slot >= 0) {
      Cache* to = static_cast<Cache*>(args.k_cache) + slot * args.kv_heads * kHeadDim + in_token;
      write_line(to, pack_bf16(a), k_inverse);
      write_line(to + kHalf, pack_bf16(b), k_inverse);
    }
  }
  if (slot < 0) {
    return;
  }
  const int v_chunks = args.kv_heads * (kHeadDim / kChunk);
  const auto* v = static_cast<const __nv_bfloat16*>(args.v) + token * args.v_stride;
  Cache* v_cache = static_cast<Cache*>(args.v_cache) + slot * args.kv_heads * kHeadDim;
  for (int item = first; item < v_chunks; item += step) {
    write_line(v_cache + item * kChunk, reinterpret_cast<const uint4*>(v)[item], v_inverse);
  }
}

template <typename Cache>
void launch_for(const RotateAppendArgs& args, CudaStream stream) {
  const int lanes = args.head_dim / 2 / kChunk;
  const int items = (args.q_heads + args.kv_heads) * lanes;
  const int parts = args.tokens >= kEnoughCtas ? 1 : (items + kThreads - 1) / kThreads;
  const auto kernel = lanes == 4   ? rotate_append<Cache, 4>
                      : lanes == 8 ? rotate_append<Cache, 8>
                                   : rotate_append<Cache, 16>;
  launch_overlapped("rotate_append", kernel, dim3(static_cast<unsigned>(args.tokens), parts),
                    kThreads, 0, stream, args, 1.0f / args.k_scale, 1.0f / args.v_scale);
}

}  // namespace smxx

void launch_rotate_append(const RotateAppendArgs& args, CudaStream stream) {
  if (args.tokens == 0) {
    return;
  }
  if (args.cache_is_fp8) {
    smxx::launch_for<Fp8>(args, stream);
  } else {
    smxx::launch_for<__nv_bfloat16>(args, stream);
  }
}

}  // namespace hopskip::cuda
