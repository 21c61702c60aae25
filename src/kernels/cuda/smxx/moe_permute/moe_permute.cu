// One CTA sorts by counting: every warp counts the experts of its part of the pairs; the counts
// become the rows at which each warp's pairs of each expert begin; every warp walks through its
// part once more and hands out rows. That keeps the order of the tokens, without atomics.
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/smxx/moe_permute/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxExperts = 256;
constexpr int kAhead = 4;  // loads of ids in flight

// The sum over the lanes below this one.
__device__ inline int sum_below(int value, int lane) {
  int sum = value;
  HOPSKIP_UNROLL
  for (int distance = 1; distance < 32; distance *= 2) {
    const int other = __shfl_up_sync(0xffffffff, sum, distance);
    sum += lane >= distance ? other : 0;
  }
  return sum - value;
}

// Calls visit(pair, expert) of 32 pairs at a time, expert −1 where there is no pair, by whole
// warps.
template <typename Visit>
__device__ inline void for_pairs(const int32_t* ids, int64_t begin, int64_t end, int lane,
                                 const Visit& visit) {
  for (int64_t base = begin; base < end; base += 32 * kAhead) {
    int expert[kAhead];
    HOPSKIP_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      const int64_t pair = base + 32 * i + lane;
      expert[i] = pair < end ? ids[pair] : -1;
    }
    HOPSKIP_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      visit(base + 32 * i + lane, expert[i]);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    moe_permute(const MoePermuteArgs args, int64_t max_rows) {
  let_next_start();
  wait_for_previous();
  __shared__ int32_t s_next[kWarps][kMaxExperts];  // counts; then the next row to hand out
  __shared__ int32_t s_count[kMaxExperts];
  __shared__ int32_t s_offset[kMaxExperts];
  const MoeLayout& out = args.layout;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int64_t pairs = args.tokens * args.k;
  const int64_t part = (pairs + kThreads - 1) / kThreads * 32;  // of a warp
  const int64_t begin = min(pairs, part * warp);
  const int64_t end = min(pairs, begin + part);

  for (int64_t row = threadIdx.x; row < max_rows; row += kThreads) {
    out.row_tokens[row] = -1;
  }
  if (out.block_experts != nullptr) {
    for (int64_t block = threadIdx.x; block < max_rows / args.block_rows; block += kThreads) {
      out.block_experts[block] = -1;
    }
  }
  for (int expert = lane; expert < kMaxExperts; expert += 32) {
    s_next[warp][expert] = 0;
  }
  __syncwarp();
  for_pairs(args.ids, begin, end, lane, [&](int64_t, int expert) {
    const uint32_t peers = __match_any_sync(0xffffffff, expert);
    if (expert >= 0 && (peers >> lane) == 1) {  // the last of its peers speaks for them
      s_next[warp][expert] += __popc(peers);
    }
    __syncwarp();
  });
  __syncthreads();

  const int expert = threadIdx.x;
  if (expert < kMaxExperts) {
    int count = 0;
    HOPSKIP_UNROLL
    for (int w = 0; w < kWarps; ++w) {  // what the warps before have of this expert
      const int mine = s_next[w][expert];
      s_next[w][expert] = count;
      count += mine;
    }
    s_count[expert] = count;
  }
  __syncthreads();
  if (warp == 0) {
    constexpr int kEach = kMaxExperts / 32;
    int rows = 0;
    int active = 0;
    HOPSKIP_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int count = s_count[lane * kEach + i];
      rows += (count + args.block_rows - 1) / args.block_rows * args.block_rows;
      active += count > 0 ? 1 : 0;
    }
    int offset = sum_below(rows, lane);
    int place = sum_below(active, lane);
    HOPSKIP_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int count = s_count[lane * kEach + i];
      s_offset[lane * kEach + i] = offset;
      offset += (count + args.block_rows - 1) / args.block_rows * args.block_rows;
      if (count > 0) {
        out.active[place++] = lane * kEach + i;
      }
    }
    if (lane == 31) {
      *out.num_active = place;
    }
  }
  __syncthreads();
  if (expert < args.experts) {
    const int offset = s_offset[expert];
    const int count = s_count[expert];
    out.offsets[expert] = offset;
    out.counts[expert] = count;
    HOPSKIP_UNROLL
    for (int w = 0; w < kWarps; ++w) {
      s_next[w][expert] += offset;
    }
    if (out.block_experts != nullptr) {
      for (int row = 0; row < count; row += args.block_rows) {
        out.block_experts[(offset + row) / args.block_rows] = expert;
      }
    }
  }
  __syncthreads();
  for_pairs(args.ids, begin, end, lane, [&](int64_t pair, int id) {
    const uint32_t peers = __match_any_sync(0xffffffff, id);
    const int before = __popc(peers & ((1u << lane) - 1));
    const int row = id >= 0 ? s_next[warp][id] + before : 0;
    __syncwarp();
    if (id >= 0) {
      out.rows[pair] = row;
      out.row_tokens[row] = static_cast<int32_t>(pair / args.k);
      if ((peers >> lane) == 1) {
        s_next[warp][id] = row + 1;
      }
    }
    __syncwarp();
  });
}

}  // namespace smxx

void launch_moe_permute(const MoePermuteArgs& args, CudaStream stream) {
  const int64_t max_rows = moe_max_rows(args.tokens, args.k, args.experts, args.block_rows);
  launch_overlapped("moe_permute", smxx::moe_permute, dim3(1), smxx::kThreads, 0, stream, args,
                    max_rows);
}

}  // namespace hopskip::cuda
