// Two kernels: the first reads the logits once, the second reads what may matter again.
//
//   top_candidates_scan, grid [row · chunk]
//     of each group of 32 logits the largest; of the chunk its largest and its sum of exponentials
//   top_candidates, grid [row]: the `count` best groups hold all of the `count` best logits, for
//   each better group has a better logit
//     keep the groups that reach a bound, count … kSurvivors of them
//     read their logits again, from L2, and keep those that reach another such bound
//     rank these against each other
//
// Order is that of 64-bit numbers (key of the logit, ~id): no two are equal, so a bound always
// exists, ties or not, and results do not depend on who comes first.
#ifndef HOPSKIP_KERNELS_CUDA_SMXX_TOP_CANDIDATES_KERNEL_CUH_
#define HOPSKIP_KERNELS_CUDA_SMXX_TOP_CANDIDATES_KERNEL_CUH_

#include <cstdint>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/reduce.cuh"
#include "kernels/cuda/smxx/top_candidates/launch.h"

namespace hopskip::cuda::smxx {

constexpr int kGroup = 32;  // logits: a line of 128 bytes
constexpr int kScanThreads = 256;
constexpr int kScanWarps = kScanThreads / 32;
constexpr int kVector = 4;                     // logits that a thread reads at once
constexpr int kLine = kScanThreads * kVector;  // logits that a CTA reads at once
constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / 32;
constexpr int kSurvivors = 256;  // of a selection, at most
constexpr int kHeldLogits = kSurvivors * kGroup / kSelectThreads;
constexpr int kRankParts = kSelectThreads / kSurvivors;
// Threads that make up one of kMostCandidates teams: see tighten().
constexpr int kTeam = kSelectThreads / int{kMostCandidates};
constexpr uint64_t kLowest = uint64_t{1} << 32;  // below every number, above what does not exist
constexpr float kLog2E = 1.44269504f;
constexpr uint32_t kAll = 0xffffffff;

static_assert(kSelectWarps == 32, "counts of warps are added by a warp");
static_assert(kSurvivors >= 2 * kMostCandidates, "a bound is found in few steps");
static_assert(kSurvivors * kRankParts == kSelectThreads);
static_assert(kTeam == 8);
static_assert(kLine % kGroup == 0 && kGroup == 8 * kVector);

struct TopCandidatesScratch {
  float2* partials;  // [rows][chunks]: {largest, Σ exp(x − largest), or Σ exp(x) if that is −inf}
  uint32_t* groups;  // [rows][groups]: keys
  int32_t num_chunks;
  int32_t num_groups;
};

// Rises with the logit; NaN as −inf, −0 as 0. Never 0.
__device__ inline uint32_t key_of(float x) {
  x = x == x ? x : -INFINITY;
  const uint32_t bits = x == 0.0f ? 0 : __float_as_uint(x);
  return (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
}
__device__ inline float logit_of(uint32_t key) {
  return __uint_as_float((key & 0x80000000) != 0 ? key ^ 0x80000000 : ~key);
}
__device__ inline uint64_t order_of(uint32_t key, int32_t id) {
  return uint64_t{key} << 32 | static_cast<uint32_t>(~id);
}

// exp(x − base); a base of −inf counts as 0, so that exp of −inf is 0 there, too.
__device__ inline float weight(float x, float base) {
  return exp2f((x - (base == -INFINITY ? 0.0f : base)) * kLog2E);
}

// The first four of `count` logits behind g, −inf for those that do not exist.
__device__ inline void load_logits(const float* g, int count, bool lines, float (&r)[kVector]) {
  if (lines && count >= kVector) {
    const float4 line = *reinterpret_cast<const float4*>(g);
    r[0] = line.x;
    r[1] = line.y;
    r[2] = line.z;
    r[3] = line.w;
    return;
  }
  HOPSKIP_UNROLL
  for (int i = 0; i < kVector; ++i) {
    r[i] = i < count ? g[i] : -INFINITY;
  }
}

// A CTA reads kLines · kLine logits of a row.
template <int kLines>
__global__ void __launch_bounds__(kScanThreads)
    top_candidates_scan(const TopCandidatesArgs args, const TopCandidatesScratch scratch,
                        bool lines) {
  let_next_start();
  wait_for_previous();
  __shared__ float s_largest[kScanWarps];
  __shared__ float s_sums[kScanWarps];
  const int64_t row = blockIdx.x / static_cast<unsigned>(scratch.num_chunks);
  const int chunk = static_cast<int>(blockIdx.x % static_cast<unsigned>(scratch.num_chunks));
  const float* g_row = args.logits + row * args.stride;
  const int first = chunk * (kLines * kLine) + static_cast<int>(threadIdx.x) * kVector;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;

  float r[kLines][kVector];
  HOPSKIP_UNROLL
  for (int line = 0; line < kLines; ++line) {
    const int at = first + line * kLine;
    load_logits(g_row + at, args.vocab - at, lines, r[line]);
  }
  float largest = -INFINITY;  // fmaxf leaves out NaN
  HOPSKIP_UNROLL
  for (int line = 0; line < kLines; ++line) {
    const float mine = fmaxf(fmaxf(r[line][0], r[line][1]), fmaxf(r[line][2], r[line][3]));
    const float of_group = lanes_max<kGroup / kVector>(fmaxf(mine, -INFINITY));
    const int group = (first + line * kLine) / kGroup;
    if (lane % (kGroup / kVector) == 0 && group < scratch.num_groups) {
      scratch.groups[row * scratch.num_groups + group] = key_of(of_group);
    }
    largest = fmaxf(largest, of_group);
  }
  largest = lanes_max<32>(largest);
  float sum = 0.0f;
  HOPSKIP_UNROLL
  for (int line = 0; line < kLines; ++line) {
    HOPSKIP_UNROLL
    for (int i = 0; i < kVector; ++i) {
      sum += weight(r[line][i], largest);
    }
  }
  sum = lanes_sum<32>(sum);
  if (lane == 0) {
    s_largest[warp] = largest;
    s_sums[warp] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    HOPSKIP_UNROLL
    for (int i = 0; i < kScanWarps; ++i) {
      largest = fmaxf(largest, s_largest[i]);
    }
    sum = 0.0f;
    HOPSKIP_UNROLL
    for (int i = 0; i < kScanWarps; ++i) {
      sum += s_sums[i] * weight(s_largest[i], largest);
    }
    scratch.partials[blockIdx.x] = {largest, sum};
  }
}

// What the threads of a select CTA agree on.
struct Votes {
  uint32_t (*s_words)[kSelectWarps];  // [2]: a round of votes does not meet the one before
  int turn = 0;

  // Each warp's word, in each thread: that of warp `lane`.
  __device__ uint32_t exchange(uint32_t of_warp) {
    if (threadIdx.x % 32 == 0) {
      s_words[turn][threadIdx.x / 32] = of_warp;
    }
    __syncthreads();
    const uint32_t word = s_words[turn][threadIdx.x % 32];
    turn ^= 1;
    return word;
  }
  __device__ uint32_t sum(uint32_t mine) {
    return __reduce_add_sync(kAll, exchange(__reduce_add_sync(kAll, mine)));
  }
  __device__ uint32_t max(uint32_t mine) {
    return __reduce_max_sync(kAll, exchange(__reduce_max_sync(kAll, mine)));
  }
  __device__ uint32_t min(uint32_t mine) {
    return __reduce_min_sync(kAll, exchange(__reduce_min_sync(kAll, mine)));
  }
};

// A bound that `wanted` … kSurvivors of the CTA's values reach. order(i): this thread's i-th of
// kHeld values, below kLowest where it does not exist. At least `wanted` ≤ kMostCandidates values
// reach `low` ≥ kLowest.
template <int kHeld, typename Order>
__device__ inline uint64_t find_bound(Votes& votes, const Order& order, uint32_t wanted,
                                      uint64_t low) {
  uint32_t mine = 0;
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    const auto key = static_cast<uint32_t>(order(i) >> 32);
    mine = key > mine ? key : mine;
  }
  const uint64_t high_key = votes.max(mine);
  // The weakest of the best of kMostCandidates teams is reached by all of these best.
  HOPSKIP_UNROLL
  for (int distance = kTeam / 2; distance > 0; distance /= 2) {
    const uint32_t other = __shfl_xor_sync(kAll, mine, distance);
    mine = other > mine ? other : mine;
  }
  const uint64_t reached_by_teams = uint64_t{votes.min(mine)} << 32;
  low = reached_by_teams > low ? reached_by_teams : low;

  const auto count_from = [&](uint64_t bound) {
    uint32_t reach = 0;
    HOPSKIP_UNROLL
    for (int i = 0; i < kHeld; ++i) {
      reach += order(i) >= bound ? 1 : 0;
    }
    return votes.sum(reach);
  };
  uint64_t high = (high_key + 1) << 32;  // nothing reaches it
  uint32_t reached = count_from(low);
  while (reached > kSurvivors && high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    const uint32_t reach = count_from(middle);
    if (reach >= wanted) {
      low = middle;
      reached = reach;
    } else {
      high = middle;
    }
  }
  return low;
}

// Called by a warp: adds up the row's chunks.
__device__ inline void write_sum(const TopCandidatesArgs& args, const TopCandidatesScratch& scratch,
                                 int64_t row) {
  const float2* partials = scratch.partials + row * scratch.num_chunks;
  const int lane = threadIdx.x % 32;
  float largest = -INFINITY;
  for (int i = lane; i < scratch.num_chunks; i += 32) {
    largest = fmaxf(largest, partials[i].x);
  }
  largest = lanes_max<32>(largest);
  float sum = 0.0f;
  for (int i = lane; i < scratch.num_chunks; i += 32) {
    sum += partials[i].y * weight(partials[i].x, largest);
  }
  sum = lanes_sum<32>(sum);
  if (lane == 0) {
    float* out = args.out + row * (2 * (args.count + 1));
    *reinterpret_cast<float2*>(out) = {__int_as_float(args.count),
                                       largest == -INFINITY ? __uint_as_float(0x7fc00000) : sum};
  }
}

// kHeldGroups: of a thread, at least num_groups / kSelectThreads.
template <int kHeldGroups>
__global__ void __launch_bounds__(kSelectThreads)
    top_candidates(const TopCandidatesArgs args, const TopCandidatesScratch scratch) {
  let_next_start();
  wait_for_previous();
  __shared__ uint32_t s_words[2][kSelectWarps];
  __shared__ int32_t s_groups[kSurvivors];
  __shared__ __align__(16) uint64_t s_best[kSurvivors];
  __shared__ int s_ranks[kSurvivors];
  __shared__ int s_num_groups;
  __shared__ int s_num_best;
  const int64_t row = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int warp = thread / 32;
  Votes votes{s_words};

  // Groups.
  uint32_t r_groups[kHeldGroups];
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeldGroups; ++i) {
    const int group = i * kSelectThreads + thread;
    r_groups[i] = group < scratch.num_groups ? scratch.groups[row * scratch.num_groups + group] : 0;
  }
  if (warp == kSelectWarps - 1) {
    write_sum(args, scratch, row);
  }
  if (thread < kSurvivors) {
    s_best[thread] = 0;
    s_ranks[thread] = 0;
  }
  if (thread == 0) {
    s_num_groups = 0;
    s_num_best = 0;
  }
  const auto group_order = [&](int i) {  // 0 in front: nothing
    return order_of(r_groups[i], i * kSelectThreads + thread);
  };
  const auto wanted = static_cast<uint32_t>(args.count);
  uint64_t bound = kLowest;
  if (scratch.num_groups > kSurvivors) {
    bound = find_bound<kHeldGroups>(votes, group_order, wanted, kLowest);
  }
  __syncthreads();  // shared memory is clear
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeldGroups; ++i) {
    if (group_order(i) >= bound) {
      const int place = atomicAdd(&s_num_groups, 1);
      if (place < kSurvivors) {
        s_groups[place] = i * kSelectThreads + thread;
      }
    }
  }
  __syncthreads();

  // Their logits: a warp reads a group.
  const int num_groups = s_num_groups < kSurvivors ? s_num_groups : kSurvivors;
  uint64_t r_logits[kHeldLogits];
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeldLogits; ++i) {
    const int place = i * kSelectWarps + warp;
    const int id = place < num_groups ? s_groups[place] * kGroup + lane : args.vocab;
    r_logits[i] = id < args.vocab ? order_of(key_of(args.logits[row * args.stride + id]), id) : 0;
  }
  const auto logit_order = [&](int i) { return r_logits[i]; };
  // The largest logit of each chosen group has at least the bound's key.
  bound = find_bound<kHeldLogits>(votes, logit_order, wanted, bound >> 32 << 32);
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeldLogits; ++i) {
    if (r_logits[i] >= bound) {
      const int place = atomicAdd(&s_num_best, 1);
      if (place < kSurvivors) {
        s_best[place] = r_logits[i];
      }
    }
  }
  __syncthreads();

  // Ranks: each of the best against a part of them; zeros, behind them, outrank none.
  const uint64_t mine = s_best[thread % kSurvivors];
  const int part = thread / kSurvivors * (kSurvivors / kRankParts);
  int rank = 0;
  HOPSKIP_UNROLL_BY(8)
  for (int i = 0; i < kSurvivors / kRankParts; i += 2) {
    const ulonglong2 others = *reinterpret_cast<const ulonglong2*>(&s_best[part + i]);
    rank += (others.x > mine ? 1 : 0) + (others.y > mine ? 1 : 0);
  }
  atomicAdd(&s_ranks[thread % kSurvivors], rank);
  __syncthreads();
  if (thread < kSurvivors && mine != 0 && s_ranks[thread] < args.count) {
    float* out = args.out + row * (2 * (args.count + 1)) + 2 * (1 + s_ranks[thread]);
    *reinterpret_cast<float2*>(out) = {
        __int_as_float(static_cast<int>(~static_cast<uint32_t>(mine))),
        logit_of(static_cast<uint32_t>(mine >> 32))};
  }
}

}  // namespace hopskip::cuda::smxx

#endif  // HOPSKIP_KERNELS_CUDA_SMXX_TOP_CANDIDATES_KERNEL_CUH_
