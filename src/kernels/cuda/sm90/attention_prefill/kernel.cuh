// Prefill attention with Skip Softmax on Hopper.
//
// A CTA computes 192 query rows of one head: a producer warp copies Q, K and V to shared memory
// with TMA, three consumer warpgroups own 64 rows each (head_dim 256: two, 128 rows). S(n) is the
// product of Q with key tile n, O(n) adds P(n) · V(n). A warpgroup does one after the other; while
// it is in the softmax, the tensor cores serve the others:
//
//   group 0   S(n) │ softmax(n)        │ O(n) S(n+1) │ softmax(n+1)       …
//   group 1        │ O(n) S(n+1) │ softmax(n+1)      │ O(n+1) S(n+2)      …
//   group 2   softmax(n)         │ O(n) S(n+1) │ softmax(n+1)             …
//
// The vote: after S(n), each thread compares the maxima of its two rows in every slice of 16 keys
// with the running maximum, and a warp-wide OR makes a bit mask of the slices that the warp wants.
// The four warps exchange masks through shared memory and one mbarrier, and meanwhile each computes
// the exponentials of what it wants itself. Of slices that no row wants, no exponential is computed
// and no step of P · V is issued; the step is as wide as the slice.
//
// Tuning is in config.h, what was tried in docs/kernels/prefill.md.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_KERNEL_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_KERNEL_CUH_

#include <cuda.h>

#include <cmath>
#include <cstdint>

#include "attention/skip_rule.h"
#include "attention/tile_plan.h"
#include "kernels/cuda/common/grid.cuh"
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/online_softmax.cuh"
#include "kernels/cuda/common/pack.cuh"
#include "kernels/cuda/kernel_params.h"
#include "kernels/cuda/ptx/sm90.cuh"
#include "kernels/cuda/sm90/attention_prefill/config.h"
#include "kernels/cuda/sm90/attention_prefill/producer.cuh"
#include "kernels/cuda/sm90/attention_prefill/products.cuh"
#include "kernels/cuda/sm90/attention_prefill/types.cuh"

namespace hopskip::cuda::sm90 {

template <typename T, int kHeadDim>
struct PrefillKernel {
  using Types = PrefillTypes<T, kHeadDim>;
  using Products = PrefillProducts<T, kHeadDim>;
  using Shared = typename Types::Shared;
  static constexpr PrefillConfig kConfig = Types::kConfig;
  static constexpr int kConsumers = kConfig.consumers;
  static constexpr int kRows = Types::kRows;
  static constexpr int kKeys = Types::kKeys;
  static constexpr int kKStages = kConfig.k_stages;
  static constexpr int kVStages = kConfig.v_stages;
  static constexpr int kSlices = Types::kSlices;
  static constexpr uint32_t kAllSlices = Types::kAllSlices;
  static constexpr int kPanels = Types::kPanels;
  static constexpr int kPanelBytesKv = Types::kPanelBytesKv;

  // ---- Consumers: a warpgroup for each 64 rows ----------------------------------------------

  // One warpgroup: thread (warp w, lane 4 g + t) holds rows 16 w + g + 8 h (h = 0, 1) and of each
  // 8 columns numbers 2 t and 2 t + 1; see ptx/wgmma.cuh for the places in the arrays.
  struct Consumer {
    const AttentionArgs& args;
    Shared& s;
    const int group;  // number of the warpgroup
    const int lane;
    const int row0;  // this thread's row h = 0, in the item
    const uint64_t desc_q;
    const uint64_t desc_k;  // of stage 0
    const uint64_t desc_v;
    Ring<kKStages> ring_k;
    Ring<kVStages> ring_v;
    // Of the item:
    const PrefillWork* work = nullptr;
    int2 visible_tiles;   // [x, y): some row of this warpgroup sees a key
    int2 unmasked_tiles;  // [x, y): every row sees every key
    int tail_tile;        // reaches beyond the last key; −1: none does
    // Scores; then, of slice i, r_s[8 i … 8 i + 3] hold the bits of the packed weights, the A
    // operand of O += P · V: in an array of their own they would be live together with the scores.
    float r_s[kKeys / 2];
    float r_o[kHeadDim / 2];  // sum of weights · V
    float r_m[2];             // running maximum of the raw scores, [h]
    float r_base[2];          // log2 units: at most kSlackLog2 below the running maximum
    float r_l[2];             // running sum of this thread's weights
    float r_threshold[2];  // log2(λ) in raw scores; +inf: a row that does not exist and abstains
    uint32_t vote_phase = 0;
    uint32_t wanted;  // slices that take part
    int left_out;     // slices that did not, in this item

    __device__ Consumer(const AttentionArgs& args_in, Shared& shared, int group_in)
        : args(args_in),
          s(shared),
          group(group_in),
          lane(threadIdx.x % 32),
          row0(group_in * kPrefillVoteRows + threadIdx.x / 32 % 4 * 16 + lane / 4),
          desc_q(ptx::matrix_descriptor(&shared.q[0][group_in * kPrefillVoteRows], 0, 1024)),
          desc_k(ptx::matrix_descriptor(shared.k, 0, 1024)),
          desc_v(ptx::matrix_descriptor(shared.v, kPanelBytesKv, 1024)) {}

    __device__ void release(uint64_t* barrier) const {
      if (ptx::elect_one()) {
        ptx::mbarrier_arrive(barrier);
      }
    }

    // Keys that rows of this warpgroup see, [x, y); empty where none of them exists.
    __device__ int2 visible_keys() const {
      const int rows = min(kPrefillVoteRows, work->rows - group * kPrefillVoteRows);
      const int first = work->position + group * kPrefillVoteRows;
      const int end = args.causal ? min(first + rows, work->kv_len) : work->kv_len;
      const int begin = args.window > 0 ? max(0, first + 1 - args.window) : 0;
      return rows > 0 ? int2{begin, end} : int2{0, 0};
    }

    // Starts r_s = Q · Kᵀ of the ring's tile.
    __device__ void start_scores() {
      Products::start_scores(r_s, desc_q,
                             ptx::advance(desc_k, ring_k.stage * static_cast<int>(sizeof(s.k[0]))));
    }
    __device__ void wait_for_scores() {
      ptx::wgmma_wait<0>();
      ptx::pin_accumulators(r_s);
    }

    // r_o += P · V of the wanted slices.
    template <bool kSkip>
    __device__ void values(int tile) {
      if (tile == tail_tile) {
        clear_values_behind(work->kv_len - tile * kKeys);
      }
      const uint64_t v = ptx::advance(desc_v, ring_v.stage * static_cast<int>(sizeof(s.v[0])));
      if (!kSkip || wanted == kAllSlices) {
        Products::add_all(r_o, r_s, v);
      } else {
        Products::add_wanted(r_o, r_s, v, wanted);
      }
      ptx::wgmma_wait<0>();
      ptx::pin_accumulators(r_o);
    }

    // V rows from `key` on may hold NaN, and 0 · NaN is not 0. Every warpgroup clears them all.
    __device__ void clear_values_behind(int key) {
      const int thread = threadIdx.x % 128;
      for (int panel = 0; panel < kPanels; ++panel) {
        for (int row = thread / 8; row < kKeys; row += 16) {
          if (row >= key) {
            reinterpret_cast<uint4*>(s.v[ring_v.stage][panel][row])[thread % 8] = {0, 0, 0, 0};
          }
        }
      }
      ptx::fence_proxy_async();
      ptx::named_barrier_sync(Types::kGroupBarrier + group, 128);
    }

    // Query rows from `row` on are not of this item. Memory there may hold NaN, which never agrees
    // to skip.
    __device__ void clear_rows_behind(int row) {
      const int thread = threadIdx.x % 128;
      for (int panel = 0; panel < kPanels; ++panel) {
        for (int r = thread / 8; r < kPrefillVoteRows; r += 16) {
          if (group * kPrefillVoteRows + r >= row) {
            reinterpret_cast<uint4*>(s.q[panel][group * kPrefillVoteRows + r])[thread % 8] = {0, 0,
                                                                                              0, 0};
          }
        }
      }
      ptx::fence_proxy_async();
      ptx::named_barrier_sync(Types::kGroupBarrier + group, 128);
    }

    // −inf where a row does not see a key.
    __device__ void mask(int tile) {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int position = work->position + row0 + 8 * h;
        const int first = tile * kKeys + lane % 4 * 2;
        const int end = (args.causal ? min(position + 1, work->kv_len) : work->kv_len) - first;
        const int begin = (args.window > 0 ? max(0, position + 1 - args.window) : 0) - first;
        HOPSKIP_UNROLL
        for (int j = 0; j < kKeys / 8; ++j) {
          HOPSKIP_UNROLL
          for (int e = 0; e < 2; ++e) {
            const int key = 8 * j + e;
            float& score = r_s[4 * j + 2 * h + e];
            score = key < begin || key >= end ? -INFINITY : score;
          }
        }
      }
    }

    // This thread's largest score of row h in slice i.
    __device__ float slice_max(int h, int i) const {
      const float* r = &r_s[8 * i + 2 * h];
      return fmaxf(fmaxf(r[0], r[1]), fmaxf(r[4], r[5]));
    }

    // Bit i: some row of this warp does not agree to skip slice i. The slices' maxima are taken
    // again: to keep them from the search for the tile's maximum would cost registers that there
    // are not.
    __device__ uint32_t wanted_by_warp() const {
      const float bound[2] = {skip_bound(r_m[0], r_threshold[0]),
                              skip_bound(r_m[1], r_threshold[1])};
      uint32_t mine = 0;
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        if (!below_skip_bound(slice_max(0, i), bound[0]) ||
            !below_skip_bound(slice_max(1, i), bound[1])) {
          mine |= 1u << i;
        }
      }
      return __reduce_or_sync(0xffffffff, mine);
    }
    // The warps of the group tell each other. What a warp wants itself it can work on in between,
    // and one that wants everything need not listen; it makes up for that before it speaks again.
    // One lane of a warp reads and speaks: with its word it says that what it read may be replaced.
    __device__ void tell(uint32_t mine) {
      ptx::mbarrier_wait(&s.voted[group], vote_phase ^ 1);
      if (ptx::elect_one()) {
        s.votes[group][vote_phase][threadIdx.x / 32 % 4] = mine;
        ptx::mbarrier_arrive(&s.voted[group]);
      }
      vote_phase ^= 1;
    }
    __device__ uint32_t wanted_by_group() const {
      ptx::mbarrier_wait(&s.voted[group], vote_phase ^ 1);
      uint32_t wanted = 0;
      if (ptx::elect_one()) {
        const auto votes = *reinterpret_cast<const uint4*>(s.votes[group][vote_phase ^ 1]);
        wanted = votes.x | votes.y | votes.z | votes.w;
      }
      return __reduce_or_sync(0xffffffff, wanted);
    }

    // The running maximum over what the rows have seen; four lanes share a row.
    __device__ void raise_maximum(const float (&tile_max)[2]) {
      float row_max[2] = {tile_max[0], tile_max[1]};
      HOPSKIP_UNROLL
      for (int lanes = 1; lanes < 4; lanes *= 2) {
        const float other[2] = {__shfl_xor_sync(0xffffffff, row_max[0], lanes),
                                __shfl_xor_sync(0xffffffff, row_max[1], lanes)};
        row_max[0] = fmaxf(row_max[0], other[0]);
        row_max[1] = fmaxf(row_max[1], other[1]);
      }
      r_m[0] = fmaxf(r_m[0], row_max[0]);
      r_m[1] = fmaxf(r_m[1], row_max[1]);
      if (__any_sync(0xffffffff, r_m[0] * args.scale_log2 > r_base[0] + kSlackLog2 ||
                                     r_m[1] * args.scale_log2 > r_base[1] + kSlackLog2)) {
        raise_base();
      }
    }

    // Weights are exp2(score − base), and base follows the running maximum only where it has to:
    // what was summed so far is rescaled.
    __device__ void raise_base() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const float base = fmaxf(r_base[h], r_m[h] * args.scale_log2);
        const float rescale = ptx::exp2_approx(r_base[h] - base);
        r_base[h] = base;
        r_l[h] *= rescale;
        HOPSKIP_UNROLL
        for (int j = 0; j < kHeadDim / 8; ++j) {
          r_o[4 * j + 2 * h] *= rescale;
          r_o[4 * j + 2 * h + 1] *= rescale;
        }
      }
    }

    // Scores of a tile become packed weights; maximum, sum, output so far and the wanted slices are
    // brought up to date.
    template <bool kSkip>
    __device__ void softmax() {
      float tile_max[2];
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        tile_max[h] = slice_max(h, 0);
        HOPSKIP_UNROLL
        for (int i = 1; i < kSlices; ++i) {
          tile_max[h] = fmaxf(tile_max[h], slice_max(h, i));
        }
      }
      // After some tiles a new maximum is rare.
      if (__any_sync(0xffffffff, tile_max[0] > r_m[0] || tile_max[1] > r_m[1])) {
        raise_maximum(tile_max);
      }
      uint32_t mine = kAllSlices;
      if constexpr (kSkip) {
        mine = wanted_by_warp();
        tell(mine);
      }
      const auto weigh_slice = [&](int i) {
        float* r = &r_s[8 * i];
        uint32_t packed[4];
        HOPSKIP_UNROLL
        for (int h = 0; h < 2; ++h) {
          float w[4];
          HOPSKIP_UNROLL
          for (int e = 0; e < 4; ++e) {
            const float score = r[4 * (e / 2) + 2 * h + e % 2];
            w[e] = ptx::exp2_approx(score * args.scale_log2 - r_base[h]);
          }
          r_l[h] += (w[0] + w[1]) + (w[2] + w[3]);
          packed[h] = pack2<T>(w[0], w[1]);
          packed[2 + h] = pack2<T>(w[2], w[3]);
        }
        HOPSKIP_UNROLL
        for (int e = 0; e < 4; ++e) {
          r[e] = __uint_as_float(packed[e]);
        }
      };
      const auto weigh_slices = [&](uint32_t slices) {
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          if ((slices >> i & 1) != 0) {
            weigh_slice(i);
          }
        }
      };
      if (!kSkip || mine == kAllSlices) {
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          weigh_slice(i);
        }
        wanted = kAllSlices;
      } else {
        if (mine != 0) {
          weigh_slices(mine);
        }
        wanted = wanted_by_group();
        left_out += kSlices - __popc(wanted);
        if (wanted != mine) {
          weigh_slices(wanted & ~mine);
        }
      }
    }

    // All tiles of an item.
    template <bool kSkip>
    __device__ void attend() {
      const VisitOrder order = Types::visit_order(args);
      const int first = work->first_tile;
      const int last = work->last_tile;
      const float threshold = work->threshold_log2 / args.scale_log2;
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        r_threshold[h] = row0 + 8 * h < work->rows ? threshold : INFINITY;
      }
      if (kSkip && work->rows < kRows) {
        clear_rows_behind(work->rows);
      }
      HOPSKIP_UNROLL
      for (int i = 0; i < kHeadDim / 2; ++i) {
        r_o[i] = 0.0f;
      }
      r_m[0] = r_m[1] = -INFINITY;
      r_base[0] = r_base[1] = kNoBase;
      r_l[0] = r_l[1] = 0.0f;
      left_out = 0;
      wanted = kAllSlices;
      const auto visited = [&](int visit) { return visited_span(order, visit, first, last); };
      const auto is_visible = [&](int tile) {
        return tile >= visible_tiles.x && tile < visible_tiles.y;
      };
      int next = visited(0);
      bool next_visible = is_visible(next);
      for (int visit = 0; visit <= last - first; ++visit) {
        const int tile = next;
        // Tiles that are not used are waited for, too: nobody may run a round of stages ahead.
        ptx::mbarrier_wait(&s.k_full[ring_k.stage], ring_k.phase);
        if (next_visible) {
          start_scores();
          // While the tensor cores work.
          next = visited(visit + 1);
          next_visible = is_visible(next);
          const bool masked = tile < unmasked_tiles.x || tile >= unmasked_tiles.y;
          wait_for_scores();
          release(&s.k_empty[ring_k.stage]);
          if (masked) {
            mask(tile);
          }
          softmax<kSkip>();
          ptx::mbarrier_wait(&s.v_full[ring_v.stage], ring_v.phase);
          if (!kSkip || wanted != 0) {
            values<kSkip>(tile);
          }
          if (args.skip_map != nullptr) {
            write_skip_map(tile);
          }
        } else {
          next = visited(visit + 1);
          next_visible = is_visible(next);
          release(&s.k_empty[ring_k.stage]);
          ptx::mbarrier_wait(&s.v_full[ring_v.stage], ring_v.phase);
        }
        release(&s.v_empty[ring_v.stage]);
        ring_k.advance();
        ring_v.advance();
      }
      release(&s.q_empty);
    }

    __device__ void write_skip_map(int tile) const {
      const int2 keys = visible_keys();
      const int slice = tile * kSlices + threadIdx.x % 128;
      if (threadIdx.x % 128 < kSlices && slice >= keys.x / kPrefillSliceKeys &&
          slice * kPrefillSliceKeys < keys.y) {
        const int64_t row_tiles = (work->q_len + kPrefillVoteRows - 1) / kPrefillVoteRows;
        const int64_t key_tiles = (work->kv_len + kPrefillSliceKeys - 1) / kPrefillSliceKeys;
        const int64_t row_tile = work->row_begin / kPrefillVoteRows + group;
        args.skip_map[work->skip_map + (work->head * row_tiles + row_tile) * key_tiles + slice] =
            (wanted >> threadIdx.x % 128 & 1) != 0 ? 1 : 2;
      }
    }

    // Writes the rows that exist, their LSE and the item's counts.
    template <bool kSkip>
    __device__ void finish() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        float l = r_l[h];
        l += __shfl_xor_sync(0xffffffff, l, 1);
        l += __shfl_xor_sync(0xffffffff, l, 2);
        const float inverse = l > 0.0f ? 1.0f / l : 0.0f;
        const bool exists = row0 + 8 * h < work->rows;
        const int64_t q_row = work->q_row + row0 + 8 * h;
        if (exists && args.lse != nullptr && lane % 4 == 0) {
          args.lse[q_row * args.num_heads + work->head] =
              l > 0.0f ? (r_base[h] + log2f(l)) * static_cast<float>(M_LN2) : -INFINITY;
        }
        T* out = static_cast<T*>(args.out) + q_row * args.out_row_stride +
                 work->head * args.out_head_stride;
        HOPSKIP_UNROLL
        for (int j = 0; j < kHeadDim / 8; j += 4) {
          uint32_t words[4];
          HOPSKIP_UNROLL
          for (int i = 0; i < 4; ++i) {
            const float* o = &r_o[4 * (j + i) + 2 * h];
            words[i] = pack2<T>(o[0] * inverse, o[1] * inverse);
          }
          const uint4 line = transpose_quad(words, lane);
          if (exists) {
            *reinterpret_cast<uint4*>(out + 8 * (j + lane % 4)) = line;
          }
        }
      }
      const int2 keys = visible_keys();
      if (args.counts != nullptr && threadIdx.x % 128 == 0 && keys.y > keys.x) {
        const int first = keys.x / kPrefillSliceKeys;
        const int visible = (keys.y - 1) / kPrefillSliceKeys + 1 - first;
        auto* counts = reinterpret_cast<unsigned long long*>(
            &args.counts[int64_t{work->index} * args.num_heads + work->head]);
        atomicAdd(&counts[0], visible);
        if (kSkip) {
          // Slices of visible tiles that no row sees were left out as well.
          const int visited = (visible_tiles.y - visible_tiles.x) * kSlices;
          atomicAdd(&counts[1], left_out - (visited - visible));
        }
      }
    }

    template <bool kSkip>
    __device__ void compute_item() {
      attend<kSkip>();
      finish<kSkip>();
    }

    __device__ void run() {
      for (int n = 0;; ++n) {
        ptx::mbarrier_wait(&s.q_full, n & 1);
        work = &s.work[n % Types::kWorkSlots];
        if (work->head < 0) {
          return;
        }
        const int2 keys = visible_keys();
        visible_tiles = {keys.x / kKeys, (keys.y + kKeys - 1) / kKeys};
        const int first = work->position + group * kPrefillVoteRows;
        const int end = args.causal ? min(first + 1, work->kv_len) : work->kv_len;
        const int begin = args.window > 0 ? max(0, first + kPrefillVoteRows - args.window) : 0;
        unmasked_tiles = {(begin + kKeys - 1) / kKeys, end / kKeys};
        tail_tile = work->kv_len % kKeys == 0 ? -1 : work->kv_len / kKeys;
        if (work->threshold_log2 == kDenseThresholdLog2) {
          compute_item<false>();
        } else {
          compute_item<true>();
        }
      }
    }
  };

  // ---- Kernel ------------------------------------------------------------------------------

  static __device__ void run(const AttentionArgs& args, const PrefillMaps& maps, char* memory) {
    Shared& s = *reinterpret_cast<Shared*>(memory);
    // Read from lane 0, the compiler knows it to be the same for the whole warp.
    const int group = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);
    if (threadIdx.x == 0) {
      ptx::tma_prefetch_descriptor(&maps.q);
      ptx::tma_prefetch_descriptor(&maps.k);
      ptx::tma_prefetch_descriptor(&maps.v);
      for (int group = 0; group < kConsumers; ++group) {
        ptx::mbarrier_init(&s.voted[group], 4);
      }
      ptx::mbarrier_init(&s.q_full, 1);
      ptx::mbarrier_init(&s.q_empty, 4 * kConsumers);
      for (int stage = 0; stage < kKStages; ++stage) {
        ptx::mbarrier_init(&s.k_full[stage], 1);
        ptx::mbarrier_init(&s.k_empty[stage], 4 * kConsumers);
      }
      for (int stage = 0; stage < kVStages; ++stage) {
        ptx::mbarrier_init(&s.v_full[stage], 1);
        ptx::mbarrier_init(&s.v_empty[stage], 4 * kConsumers);
      }
      ptx::fence_barrier_init();
    }
    __syncthreads();
    if (group == 0) {
      ptx::give_registers<kConfig.producer_registers>();
      if (threadIdx.x < 32) {
        PrefillProducer<T, kHeadDim>::produce(args, maps, s);
      }
    } else {
      ptx::take_registers<kConfig.consumer_registers>();
      Consumer consumer(args, s, group - 1);
      consumer.run();
    }
    if (threadIdx.x == 0) {
      finish_grid(args);
    }
  }
};

template <typename T, int kHeadDim>
__global__ void __launch_bounds__(prefill_config(kHeadDim).threads(), 1)
    attention_prefill(const __grid_constant__ AttentionArgs args,
                      const __grid_constant__ PrefillMaps maps) {
  extern __shared__ __align__(1024) char memory[];
  PrefillKernel<T, kHeadDim>::run(args, maps, memory);
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_KERNEL_CUH_
