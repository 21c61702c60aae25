// The end of decode: an item writes its heads' results, or its part of them, of which a second
// kernel makes the whole.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_DECODE_COMBINE_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_DECODE_COMBINE_CUH_

#include <cmath>
#include <cstdint>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/pack.cuh"
#include "kernels/cuda/common/reduce.cuh"
#include "kernels/cuda/kernel_params.h"

namespace hopskip::cuda {

// Floats from row to row of the results in shared memory: fragments of 8 rows are then written
// without bank conflicts.
template <int kHeadDim>
inline constexpr int kDecodeOutStride = kHeadDim + 8;

inline constexpr int kCombineThreads = 128;

namespace decode_combine {

// A row of head_dim columns over the lanes of a warp: lane i holds columns [i · kWidth, …).
template <int kHeadDim>
struct Row {
  static_assert(kHeadDim % 64 == 0 && kHeadDim <= 256);
  static constexpr int kWidth = kHeadDim / 32;  // 2, 4 or 8
  float value[kWidth];

  __device__ void load_shared(const float* s_row, int lane) {
    HOPSKIP_UNROLL
    for (int i = 0; i < kWidth; i += 2) {
      const float2 pair = *reinterpret_cast<const float2*>(s_row + lane * kWidth + i);
      value[i] = pair.x;
      value[i + 1] = pair.y;
    }
  }

  __device__ void store_float(float* g_row, int lane) const {
    HOPSKIP_UNROLL
    for (int i = 0; i < kWidth; i += 2) {
      *reinterpret_cast<float2*>(g_row + lane * kWidth + i) = {value[i], value[i + 1]};
    }
  }

  __device__ void add(const float* g_row, int lane, float weight) {
    if constexpr (kWidth == 2) {
      const float2 pair = reinterpret_cast<const float2*>(g_row)[lane];
      value[0] += weight * pair.x;
      value[1] += weight * pair.y;
    } else {
      HOPSKIP_UNROLL
      for (int i = 0; i < kWidth; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(g_row + lane * kWidth + i);
        value[i] += weight * four.x;
        value[i + 1] += weight * four.y;
        value[i + 2] += weight * four.z;
        value[i + 3] += weight * four.w;
      }
    }
  }

  template <typename Out>
  __device__ void store(Out* g_row, int lane, float factor) const {
    uint32_t words[kWidth / 2];
    HOPSKIP_UNROLL
    for (int i = 0; i < kWidth / 2; ++i) {
      words[i] = pack2<Out>(value[2 * i] * factor, value[2 * i + 1] * factor);
    }
    if constexpr (kWidth == 2) {
      reinterpret_cast<uint32_t*>(g_row)[lane] = words[0];
    } else if constexpr (kWidth == 4) {
      reinterpret_cast<uint2*>(g_row)[lane] = {words[0], words[1]};
    } else {
      reinterpret_cast<uint4*>(g_row)[lane] = {words[0], words[1], words[2], words[3]};
    }
  }
};

// The whole of one row from its parts, in an order that depends on their number alone. g_out and
// g_lse: of part 0; the strides lead to the next part. Returns the LSE in log2 units.
template <int kHeadDim>
__device__ __forceinline__ float merge_row(const float* g_out, int64_t out_stride,
                                           const float* g_lse, int64_t lse_stride, int parts,
                                           int lane, Row<kHeadDim>& row) {
  float largest = -INFINITY;
  for (int part = lane; part < parts; part += 32) {
    largest = fmaxf(largest, g_lse[part * lse_stride]);
  }
  largest = lanes_max<32>(largest);
  row = {};
  if (largest == -INFINITY) {
    return largest;
  }
  float sum = 0.0f;
  for (int base = 0; base < parts; base += 32) {
    const int count = min(32, parts - base);
    const float weight = lane < count ? exp2f(g_lse[(base + lane) * lse_stride] - largest) : 0.0f;
    sum += weight;
    HOPSKIP_UNROLL_BY(8)
    for (int i = 0; i < count; ++i) {
      row.add(g_out + (base + i) * out_stride, lane, __shfl_sync(0xffffffff, weight, i));
    }
  }
  sum = lanes_sum<32>(sum);
  HOPSKIP_UNROLL
  for (float& value : row.value) {
    value /= sum;
  }
  return largest + log2f(sum);
}

}  // namespace decode_combine

// Writes a row of a head's results.
template <typename Out, int kHeadDim>
__device__ inline void store_decode_row(const AttentionArgs& args, const DecodeItem& item, int r,
                                        const decode_combine::Row<kHeadDim>& row, float lse_log2,
                                        int lane) {
  const int64_t q_row = args.sequences[item.sequence].q_begin;
  const int64_t head = item.kv_head * args.group + r;
  row.store(static_cast<Out*>(args.out) + q_row * args.out_row_stride + head * args.out_head_stride,
            lane, args.v_scale);
  if (args.lse != nullptr && lane == 0) {
    args.lse[q_row * args.num_heads + head] = lse_log2 * static_cast<float>(M_LN2);
  }
}

// To be called by kThreads threads of the CTA, numbered `thread`, after they have synchronised on
// what they read: s_out, the results of the item's key range, each divided by its own sum (0 where
// the row sees nothing in it), without v_scale; s_lse, in log2 units (−inf there). The results of
// several ranges are left to combine_decode.
template <typename Out, int kHeadDim, int kThreads>
__device__ inline void finish_decode_item(const AttentionArgs& args, const DecodeItem& item,
                                          const float* s_out,  // [group][kDecodeOutStride], shared
                                          const float* s_lse,  // [group], shared
                                          int thread) {
  const int lane = thread % 32;
  const int64_t part = (int64_t{item.first_partial} + item.split) * args.group;
  for (int r = thread / 32; r < args.group; r += kThreads / 32) {
    decode_combine::Row<kHeadDim> row;
    row.load_shared(s_out + r * kDecodeOutStride<kHeadDim>, lane);
    if (item.num_splits == 1) {
      store_decode_row<Out, kHeadDim>(args, item, r, row, s_lse[r], lane);
    } else {
      row.store_float(args.partial_out + (part + r) * kHeadDim, lane);
      if (lane == 0) {
        args.partial_lse[part + r] = s_lse[r];
      }
    }
  }
}

// Merges the ranges of each (sequence, KV head). One CTA an item: it takes the rows of the group
// whose number is its range's, modulo the ranges; so as many CTAs as there are rows share the work.
// kOverlap: Hopper; it is launched while the kernel that wrote the parts still runs, and waits.
template <typename Out, int kHeadDim, bool kOverlap>
__global__ void __launch_bounds__(kCombineThreads, 4)
    combine_decode(const __grid_constant__ AttentionArgs args) {
  constexpr int kWarps = kCombineThreads / 32;
  __shared__ float s_out[kWarps][kHeadDim];
  __shared__ float s_lse[kWarps];
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  // The plan was there before the kernel that wrote the parts.
  const int num_items = *args.num_items;
  DecodeItem item =
      static_cast<int>(blockIdx.x) < num_items ? args.items[blockIdx.x] : DecodeItem{};
  if constexpr (kOverlap) {
    wait_for_previous();
  }
  for (int i = blockIdx.x; i < num_items; i += gridDim.x) {
    if (i != static_cast<int>(blockIdx.x)) {
      item = args.items[i];
    }
    if (item.num_splits == 1) {
      continue;
    }
    const int quarter = (item.num_splits + kWarps - 1) / kWarps;
    const int begin = min(warp * quarter, item.num_splits);
    const int parts = min(quarter, item.num_splits - begin);
    for (int r = item.split; r < args.group; r += item.num_splits) {
      const int64_t first = (int64_t{item.first_partial} + begin) * args.group + r;
      decode_combine::Row<kHeadDim> row;
      const float lse = decode_combine::merge_row<kHeadDim>(
          args.partial_out + first * kHeadDim, int64_t{args.group} * kHeadDim,
          args.partial_lse + first, args.group, parts, lane, row);
      row.store_float(s_out[warp], lane);
      if (lane == 0) {
        s_lse[warp] = lse;
      }
      __syncthreads();
      if (warp == 0) {
        const float whole = decode_combine::merge_row<kHeadDim>(&s_out[0][0], kHeadDim, s_lse, 1,
                                                                kWarps, lane, row);
        store_decode_row<Out, kHeadDim>(args, item, r, row, whole, lane);
      }
      __syncthreads();
    }
  }
}

// To be launched behind the kernel that wrote the parts, even where the plan of now splits nothing:
// a captured graph has to serve the plans that follow.
template <typename Out, int kHeadDim, bool kOverlap>
cudaError_t launch_combine(const AttentionArgs& args, int num_ctas, cudaStream_t stream) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(num_ctas);
  config.blockDim = dim3(kCombineThreads);
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = kOverlap ? 1 : 0;
  return cudaLaunchKernelEx(&config, combine_decode<Out, kHeadDim, kOverlap>, args);
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_DECODE_COMBINE_CUH_
