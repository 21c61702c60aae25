// A CTA multiplies 32 weight rows of one expert with its tokens: the weights are the A operand of
// mma.sync, 8 tokens are its 8 columns. Its warps share the inner dimension: warp w takes 32
// elements of every 256, so that a CTA reads whole stretches of each row, and the loads of many
// warps are in flight. A lane's 16 bytes are eight neighbouring elements instead of the two pairs
// that the fragment's layout names: the order of the inner dimension does not matter as long as
// both operands have the same.
#include <algorithm>

#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/common/tensor_map.h"
#include "kernels/cuda/ptx/sm80.cuh"
#include "kernels/cuda/smxx/grouped_gemv/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kTiles = 2;                    // of 16 weight rows; gated: gate and up
constexpr int kMaxGroups = 4;                // of 8 tokens at once
constexpr int kStep = 32;                    // elements that a warp takes of a row at once
constexpr int kSumStride = 16 * kTiles + 4;  // floats from token to token: no bank conflicts

struct GemvShared {
  float sums[kWarps][8 * kMaxGroups][kSumStride];  // [warp][token][weight row]
};

// The first weight row of a tile, and the row behind the last that this CTA may touch.
struct WeightRows {
  int first[kTiles];
  int end[kTiles];
};

// Tokens [first_row, first_row + tokens) of c, at most 8 · kGroups.
template <int kGroups, bool kGated>
__device__ void multiply(const GroupedGemvArgs& args, GemvShared& s, const __nv_bfloat16* weights,
                         const WeightRows& rows, int first_row, int tokens) {
  constexpr int kAhead = kGroups == 1 ? 4 : 2;  // steps whose loads are in flight
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int g = lane / 4;
  const int t = lane % 4;
  // Rows that do not exist are read as the last one that does; nobody looks at their products.
  const __nv_bfloat16* g_weights[kTiles][2];
  HOPSKIP_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    HOPSKIP_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int row = min(rows.first[tile] + g + 8 * h, rows.end[tile] - 1);
      g_weights[tile][h] = weights + int64_t{row} * args.in + 8 * t;
    }
  }
  const __nv_bfloat16* g_tokens[kGroups];
  HOPSKIP_UNROLL
  for (int group = 0; group < kGroups; ++group) {
    const int row = first_row + min(8 * group + g, tokens - 1);
    const int64_t from = args.a_rows != nullptr ? args.a_rows[row] : row;
    g_tokens[group] = static_cast<const __nv_bfloat16*>(args.a) + from * args.a_stride + 8 * t;
  }

  float r_c[kTiles][kGroups][4] = {};
  for (int base = warp * kStep; base < args.in; base += kWarps * kStep * kAhead) {
    uint4 r_a[kAhead][kTiles][2];
    uint4 r_b[kAhead][kGroups];
    HOPSKIP_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int k = base + i * kWarps * kStep;
      const bool exists = k + 8 * t < args.in;
      HOPSKIP_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        HOPSKIP_UNROLL
        for (int h = 0; h < 2; ++h) {
          r_a[i][tile][h] = exists ? __ldcs(reinterpret_cast<const uint4*>(g_weights[tile][h] + k))
                                   : uint4{0, 0, 0, 0};
        }
      }
      HOPSKIP_UNROLL
      for (int group = 0; group < kGroups; ++group) {
        r_b[i][group] =
            exists ? __ldg(reinterpret_cast<const uint4*>(g_tokens[group] + k)) : uint4{0, 0, 0, 0};
      }
    }
    HOPSKIP_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      HOPSKIP_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        const uint4& low = r_a[i][tile][0];
        const uint4& high = r_a[i][tile][1];
        const uint32_t a0[4] = {low.x, high.x, low.y, high.y};
        const uint32_t a1[4] = {low.z, high.z, low.w, high.w};
        HOPSKIP_UNROLL
        for (int group = 0; group < kGroups; ++group) {
          const uint4& b = r_b[i][group];
          ptx::sm80::mma<__nv_bfloat16>(r_c[tile][group], a0, b.x, b.y);
          ptx::sm80::mma<__nv_bfloat16>(r_c[tile][group], a1, b.z, b.w);
        }
      }
    }
  }

  HOPSKIP_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    HOPSKIP_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      HOPSKIP_UNROLL
      for (int i = 0; i < 4; ++i) {
        s.sums[warp][8 * group + 2 * t + i % 2][16 * tile + g + 8 * (i / 2)] = r_c[tile][group][i];
      }
    }
  }
  __syncthreads();
  constexpr int kOutRows = kGated ? 16 : 16 * kTiles;
  const int out = kGated ? args.out / 2 : args.out;
  for (int item = threadIdx.x; item < tokens * kOutRows; item += kThreads) {
    const int token = item / kOutRows;
    const int row = item % kOutRows;
    const auto whole = [&](int from) {
      float sum = 0.0f;
      HOPSKIP_UNROLL
      for (int w = 0; w < kWarps; ++w) {
        sum += s.sums[w][token][from];
      }
      return sum;
    };
    float value = whole(row);
    if constexpr (kGated) {
      value = silu(value) * whole(16 + row);
    }
    if (rows.first[0] + row < out) {
      static_cast<__nv_bfloat16*>(args.c)[int64_t{first_row + token} * out + rows.first[0] + row] =
          __float2bfloat16(value);
    }
  }
  __syncthreads();
}

template <bool kGated>
__global__ void __launch_bounds__(kThreads, 2) grouped_gemv(const GroupedGemvArgs args) {
  __shared__ GemvShared s;
  if (static_cast<int>(blockIdx.y) >= *args.num_active) {
    return;
  }
  const int expert = args.active[blockIdx.y];
  const auto* weights =
      static_cast<const __nv_bfloat16*>(args.b) + int64_t{expert} * args.out * args.in;
  WeightRows rows;
  HOPSKIP_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    if constexpr (kGated) {
      rows.first[tile] = static_cast<int>(blockIdx.x) * 16 + tile * (args.out / 2);
      rows.end[tile] = (tile + 1) * (args.out / 2);
    } else {
      rows.first[tile] = (static_cast<int>(blockIdx.x) * kTiles + tile) * 16;
      rows.end[tile] = args.out;
    }
  }
  const int begin = args.offsets[expert];
  const int count = args.counts[expert];
  for (int done = 0; done < count; done += 8 * kMaxGroups) {
    const int tokens = min(count - done, 8 * kMaxGroups);
    if (tokens <= 8) {
      multiply<1, kGated>(args, s, weights, rows, begin + done, tokens);
    } else if (tokens <= 16) {
      multiply<2, kGated>(args, s, weights, rows, begin + done, tokens);
    } else {
      multiply<4, kGated>(args, s, weights, rows, begin + done, tokens);
    }
  }
}

}  // namespace smxx

void launch_grouped_gemv(const GroupedGemvArgs& args, CudaStream stream) {
  if (args.max_active == 0) {
    return;
  }
  const int rows = args.gated ? 16 : 16 * smxx::kTiles;
  const int out = args.gated ? args.out / 2 : args.out;
  const dim3 grid((out + rows - 1) / rows, args.max_active);
  if (args.gated) {
    smxx::grouped_gemv<true><<<grid, smxx::kThreads, 0, stream>>>(args);
  } else {
    smxx::grouped_gemv<false><<<grid, smxx::kThreads, 0, stream>>>(args);
  }
  check_launch(cudaGetLastError(), "grouped_gemv");
}

}  // namespace hopskip::cuda
