// Sorts by counting. Each CTA counts the experts of all pairs, those before its own part apart:
// that costs it less than to wait for others. Every warp then counts its share of the part; the
// counts become the rows at which each warp's pairs of each expert begin, and it walks through its
// share once more and hands out rows. That keeps the order of the tokens: the only atomics are
// sums.
#include <algorithm>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/smxx/moe_permute/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxExperts = 256;
constexpr int kAhead = 4;  // loads of ids in flight
// Of a CTA's part: to find equal experts among 32 takes a warp some hundred cycles.
constexpr int64_t kPartPairs = 4096;

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
  wait_for_previous();
  __shared__ int32_t s_next[kWarps][kMaxExperts];  // counts; then the next row to hand out
  __shared__ int32_t s_before[kMaxExperts];        // pairs of the parts before
  __shared__ int32_t s_count[kMaxExperts];         // pairs of all parts
  __shared__ int32_t s_offset[kMaxExperts];
  __shared__ int32_t s_end;  // of the last expert's rows
  const MoeLayout& out = args.layout;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int64_t pairs = args.tokens * args.k;
  const int64_t part_begin = min(pairs, kPartPairs * blockIdx.x);
  const int64_t part_end = min(pairs, part_begin + kPartPairs);
  const int64_t share = (part_end - part_begin + kThreads - 1) / kThreads * 32;
  const int64_t begin = min(part_end, part_begin + share * warp);
  const int64_t end = min(part_end, begin + share);

  for (int i = threadIdx.x; i < kWarps * kMaxExperts; i += kThreads) {
    s_next[i / kMaxExperts][i % kMaxExperts] = 0;
  }
  const int expert = threadIdx.x;
  if (expert < kMaxExperts) {
    s_before[expert] = 0;
    s_count[expert] = 0;
  }
  __syncthreads();
  const auto count_into = [&](int32_t* s_counts, int64_t from, int64_t to) {
    const int64_t stretch = (to - from + kWarps - 1) / kWarps;
    const int64_t first = min(to, from + stretch * warp);
    for_pairs(args.ids, first, min(to, first + stretch), lane, [&](int64_t, int id) {
      if (id >= 0) {
        atomicAdd(&s_counts[id], 1);
      }
    });
  };
  count_into(s_before, 0, part_begin);
  count_into(s_count, part_begin, pairs);
  for_pairs(args.ids, begin, end, lane, [&](int64_t, int id) {
    const uint32_t peers = __match_any_sync(0xffffffff, id);
    if (id >= 0 && (peers >> lane) == 1) {  // the last of its peers speaks for them
      s_next[warp][id] += __popc(peers);
    }
    __syncwarp();
  });
  __syncthreads();

  if (expert < kMaxExperts) {
    const int before = s_before[expert];
    s_count[expert] += before;
    int next = before;
    HOPSKIP_UNROLL
    for (int w = 0; w < kWarps; ++w) {
      const int mine = s_next[w][expert];
      s_next[w][expert] = next;
      next += mine;
    }
  }
  __syncthreads();
  const auto padded = [&](int count) {
    return (count + args.block_rows - 1) / args.block_rows * args.block_rows;
  };
  const bool speaks = blockIdx.x == 0;  // for all CTAs
  if (warp == 0) {
    constexpr int kEach = kMaxExperts / 32;
    int rows = 0;
    int active = 0;
    HOPSKIP_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int count = s_count[lane * kEach + i];
      rows += padded(count);
      active += count > 0 ? 1 : 0;
    }
    int offset = sum_below(rows, lane);
    int place = sum_below(active, lane);
    HOPSKIP_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int count = s_count[lane * kEach + i];
      s_offset[lane * kEach + i] = offset;
      offset += padded(count);
      if (speaks && count > 0) {
        out.active[place++] = lane * kEach + i;
      }
    }
    if (lane == 31) {
      s_end = offset;
      if (speaks) {
        *out.num_active = place;
      }
    }
  }
  __syncthreads();
  if (expert < args.experts) {
    const int offset = s_offset[expert];
    HOPSKIP_UNROLL
    for (int w = 0; w < kWarps; ++w) {
      s_next[w][expert] += offset;
    }
    if (speaks) {
      const int count = s_count[expert];
      out.offsets[expert] = offset;
      out.counts[expert] = count;
      for (int row = count; row < padded(count); ++row) {
        out.row_tokens[offset + row] = -1;
      }
      if (out.block_experts != nullptr) {
        for (int row = 0; row < count; row += args.block_rows) {
          out.block_experts[(offset + row) / args.block_rows] = expert;
        }
      }
    }
  }
  if (speaks) {
    for (int64_t row = s_end + threadIdx.x; row < max_rows; row += kThreads) {
      out.row_tokens[row] = -1;
    }
    if (out.block_experts != nullptr) {
      for (int64_t block = s_end / args.block_rows + threadIdx.x;
           block < max_rows / args.block_rows; block += kThreads) {
        out.block_experts[block] = -1;
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
  const int64_t pairs = args.tokens * args.k;
  const int64_t parts = std::max<int64_t>(1, (pairs + smxx::kPartPairs - 1) / smxx::kPartPairs);
  launch_overlapped("moe_permute", smxx::moe_permute, dim3(static_cast<unsigned>(parts)),
                    smxx::kThreads, 0, stream, args, max_rows);
}

}  // namespace hopskip::cuda
