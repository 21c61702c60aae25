// Decode attention with Skip Softmax on Hopper: one query token of each sequence.
//
// An item is a range of keys of one KV head; all query heads of the group (up to 16) share it. Each
// of a CTA's four warps takes a quarter of the range and works alone, at the pace of memory:
//
//   K      load ───────────► S(i+1)          S(i+2)
//   vote                       │ slices        │
//   V      load(i) ─────────►  └─ load(i+1) ─► └─ …      of the slices that did not vote out
//   O                          O += P(i) V(i)  O += P(i+1) V(i+1)
//
// K runs several stages ahead. As soon as a stage is scored, its slices of 16 keys vote, V of those
// that stay is asked for, and while it comes the stage before is multiplied. A slice that votes out
// costs neither its V nor an exponential.
//
// A quarter's running maximum would know nothing of the rest of the sequence. So votes compare with
// the maximum over the first and the last 64 keys, too: every CTA scores them, they come from L2.
//
// Tuning is in config.h, what was tried in docs/kernels/decode.md.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_KERNEL_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_KERNEL_CUH_

#include <cuda.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "attention/skip_rule.h"
#include "attention/tile_plan.h"
#include "kernels/cuda/common/decode_combine.cuh"
#include "kernels/cuda/common/grid.cuh"
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/online_softmax.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/pack.cuh"
#include "kernels/cuda/kernel_params.h"
#include "kernels/cuda/ptx/sm90.cuh"
#include "kernels/cuda/sm90/attention_decode/config.h"
#include "kernels/cuda/sm90/attention_decode/products.cuh"
#include "kernels/cuda/sm90/attention_decode/types.cuh"

namespace hopskip::cuda::sm90 {

template <typename Q, typename Kv, int kHeadDim>
struct DecodeKernel {
  using Types = DecodeTypes<Q, Kv, kHeadDim>;
  using Products = DecodeProducts<Q, Kv, kHeadDim>;
  using Shared = typename Types::Shared;
  using Operand = typename Types::Operand;
  static constexpr bool kFp8 = Types::kFp8;
  static constexpr int kRowBytes = Types::kRowBytes;
  static constexpr int kStageKeys = Types::kStageKeys;
  static constexpr int kSlices = Types::kSlices;
  static constexpr int kPanelBytes = Types::kPanelBytes;
  static constexpr int kPanels = Types::kPanels;
  static constexpr int kPanelColumns = Types::kPanelColumns;
  static constexpr int kSteps = Types::kSteps;
  static constexpr int kCtas = Types::kCtas;
  static constexpr int kSharedBytes = Types::kSharedBytes;

  // One warp. Lane 4 g + t holds query heads g + 8 h (h = 0, 1) of the group.
  struct Warp {
    const AttentionArgs& args;
    const DecodeMaps& maps;
    Shared& s;
    const int warp;
    const int lane;
    // Loads so far, over all items: they give stage and phase of the rings.
    uint32_t k_loads = 0;
    uint32_t k_uses = 0;
    uint32_t v_loads = 0;
    uint32_t v_uses = 0;
    // Of the item:
    int number;  // in the plan
    int kv_head;
    int kv_begin;                // as in Sequence
    int2 visible;                // keys [x, y) that the query sees
    int first_key;               // of this warp's first stage
    int end_key;                 // of its last
    int k_next;                  // key of the next stage to load
    float r_bound_threshold[2];  // log2(λ) in raw scores; +inf: no such head
    uint32_t r_q[kSteps][4];     // A operand of the scores
    float r_o[kHeadDim / 8][4];  // sum of weights · V: rows h, columns see DecodeProducts
    float r_m[2];                // running maximum of the raw scores of this warp's keys
    float r_seed[2];             // a maximum over other keys, for the vote alone
    float r_base[2];             // weights are exp2(score − base)
    float r_l[2];                // sum of this thread's weights
    int skipped;
    int64_t skip_map;

    __device__ Warp(const AttentionArgs& args_in, const DecodeMaps& maps_in, Shared& shared)
        : args(args_in),
          maps(maps_in),
          s(shared),
          warp(__shfl_sync(0xffffffff, threadIdx.x / 32, 0)),
          lane(threadIdx.x % 32) {}

    // ---- Loads -----------------------------------------------------------------------------

    // Copies `count` keys from `key` on; lane i copies box i.
    __device__ void load_keys(int key, int count) {
      const int stage = k_loads % kDecodeKStages;
      const int in_stage = lane / kPanels * maps.k_box_keys;
      const bool mine = in_stage < min(count, visible.y - key);
      const int boxes = __popc(__ballot_sync(0xffffffff, mine));
      uint64_t* full = &s.k_full[warp][stage];
      if (lane == 0) {
        ptx::mbarrier_arrive_expect(full, boxes * maps.k_box_keys * kPanelBytes);
      }
      __syncwarp();
      if (mine) {
        load_box(&maps.k, s.rings[warp].k[stage][lane % kPanels][in_stage], full, key + in_stage);
      }
      ++k_loads;
    }

    // Copies the wanted slices of V of the stage at `key`.
    __device__ void load_values(int key, uint32_t wanted) {
      const int stage = v_loads % kDecodeVStages;
      const int slice = lane / kPanels;
      const bool mine = slice < kSlices && (wanted >> slice & 1) != 0;
      uint64_t* full = &s.v_full[warp][stage];
      if (lane == 0) {
        ptx::mbarrier_arrive_expect(full, __popc(wanted) * kDecodeSliceKeys * kRowBytes);
      }
      __syncwarp();
      if (mine) {
        const int in_stage = slice * kDecodeSliceKeys;
        load_box(&maps.v, s.rings[warp].v[stage][lane % kPanels][in_stage], full, key + in_stage);
      }
      ++v_loads;
    }

    __device__ void load_box(const CUtensorMap* map, void* destination, uint64_t* full, int key) {
      int token = kv_begin + key;
      int page = 0;
      if (args.page_size > 0) {
        token = key & (args.page_size - 1);
        page = __ldg(args.pages + kv_begin + (key >> args.page_log2));
      }
      ptx::tma_load(destination, map, full, lane % kPanels * kPanelColumns, token, kv_head, page);
    }

    __device__ void load_next_keys() {
      if (k_next < end_key) {
        load_keys(k_next, kStageKeys);
        k_next += kStageKeys;
      }
    }

    // ---- Steps -----------------------------------------------------------------------------

    // −inf where the key at `key` + … is not visible.
    __device__ void mask_slice(int key, float (&score)[2][4]) const {
      HOPSKIP_UNROLL
      for (int n = 0; n < 2; ++n) {
        HOPSKIP_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int k = key + 8 * n + 2 * (lane % 4) + e % 2;
          score[n][e] = k < visible.x || k >= visible.y ? -INFINITY : score[n][e];
        }
      }
    }

    __device__ static float slice_max(const float (&score)[2][4], int h) {
      return fmaxf(fmaxf(score[0][2 * h], score[0][2 * h + 1]),
                   fmaxf(score[1][2 * h], score[1][2 * h + 1]));
    }
    __device__ static float quad_max(float value) {
      value = fmaxf(value, __shfl_xor_sync(0xffffffff, value, 1));
      return fmaxf(value, __shfl_xor_sync(0xffffffff, value, 2));
    }

    // V behind the last key may hold NaN, and 0 · NaN is not 0.
    __device__ void clear_values_behind(int stage, int slice, int keys) {
      for (int panel = 0; panel < kPanels; ++panel) {
        for (int i = lane; i < (kDecodeSliceKeys - keys) * (kPanelBytes / 16); i += 32) {
          reinterpret_cast<uint4*>(
              s.rings[warp].v[stage][panel][slice * kDecodeSliceKeys + keys])[i] = {0, 0, 0, 0};
        }
      }
      ptx::fence_proxy_async();
      __syncwarp();
    }

    // What a stage leaves to be done when its V has come.
    struct Pending {
      int key;
      uint32_t wanted = 0;  // slices
      uint32_t weights[kSlices][4];
    };

    __device__ void multiply(const Pending& pending) {
      if (pending.wanted == 0) {
        return;
      }
      const int stage = v_uses % kDecodeVStages;
      ptx::mbarrier_wait(&s.v_full[warp][stage], v_uses / kDecodeVStages & 1);
      ++v_uses;
      const uint32_t address = ptx::shared_address(s.rings[warp].v[stage]);
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        if ((pending.wanted >> i & 1) != 0) {
          const int left = visible.y - (pending.key + i * kDecodeSliceKeys);
          if (left < kDecodeSliceKeys) {
            clear_values_behind(stage, i, left);
          }
          Products::add_slice(pending.weights[i], address, i, lane, r_o);
        }
      }
      __syncwarp();  // all lanes have read the stage before it is loaded again
    }

    // Scores the next stage, votes, asks for V; multiplies the stage before; makes weights.
    __device__ void step(int key, Pending& pending) {
      const int stage = k_uses % kDecodeKStages;
      ptx::mbarrier_wait(&s.k_full[warp][stage], k_uses / kDecodeKStages & 1);
      ++k_uses;
      const uint32_t address = ptx::shared_address(s.rings[warp].k[stage]);
      float score[kSlices][2][4];
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        Products::score_slice(r_q, address, i, lane, score[i]);
      }
      __syncwarp();
      load_next_keys();
      if (key < visible.x || key + kStageKeys > visible.y) {
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          mask_slice(key + i * kDecodeSliceKeys, score[i]);
        }
      }
      float bound[2];
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        float stage_max = slice_max(score[0], h);
        HOPSKIP_UNROLL
        for (int i = 1; i < kSlices; ++i) {
          stage_max = fmaxf(stage_max, slice_max(score[i], h));
        }
        r_m[h] = fmaxf(r_m[h], quad_max(stage_max));
        bound[h] = skip_bound(fmaxf(r_m[h], r_seed[h]), r_bound_threshold[h]);
      }
      uint32_t wanted = 0;
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        const bool agree = below_skip_bound(slice_max(score[i], 0), bound[0]) &&
                           below_skip_bound(slice_max(score[i], 1), bound[1]);
        if (!__all_sync(0xffffffff, agree)) {
          wanted |= 1u << i;
        }
      }
      if (wanted != 0) {
        load_values(key, wanted);
      }
      multiply(pending);
      pending.key = key;
      pending.wanted = wanted;
      skipped += kSlices - __popc(wanted);
      if (args.skip_map != nullptr) {
        write_skip_map(key, wanted);
      }
      if (wanted == 0) {
        return;
      }
      const bool grown = r_m[0] * args.scale_log2 > r_base[0] + kSlackLog2 ||
                         r_m[1] * args.scale_log2 > r_base[1] + kSlackLog2;
      if (__any_sync(0xffffffff, grown)) {
        raise_base();
      }
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        if ((wanted >> i & 1) != 0) {
          HOPSKIP_UNROLL
          for (int h = 0; h < 2; ++h) {
            float w[4];
            HOPSKIP_UNROLL
            for (int e = 0; e < 4; ++e) {
              w[e] = ptx::exp2_approx(score[i][e / 2][2 * h + e % 2] * args.scale_log2 - r_base[h]);
            }
            r_l[h] += (w[0] + w[1]) + (w[2] + w[3]);
            pending.weights[i][h] = pack2<Operand>(w[0], w[1]);
            pending.weights[i][2 + h] = pack2<Operand>(w[2], w[3]);
          }
        }
      }
    }

    // Brings the base up to the running maximum and rescales what was summed so far.
    __device__ void raise_base() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const float base = fmaxf(r_base[h], r_m[h] * args.scale_log2);
        const float rescale = ptx::exp2_approx(r_base[h] - base);
        r_base[h] = base;
        r_l[h] *= rescale;
        HOPSKIP_UNROLL
        for (int j = 0; j < kHeadDim / 8; ++j) {
          r_o[j][2 * h] *= rescale;
          r_o[j][2 * h + 1] *= rescale;
        }
      }
    }

    __device__ void write_skip_map(int key, uint32_t wanted) const {
      const int slice_key = key + lane * kDecodeSliceKeys;
      if (lane < kSlices && slice_key + kDecodeSliceKeys > visible.x && slice_key < visible.y) {
        const int64_t key_tiles = (visible.y + kDecodeSliceKeys - 1) / kDecodeSliceKeys;
        args.skip_map[skip_map + kv_head * key_tiles + slice_key / kDecodeSliceKeys] =
            (wanted >> lane & 1) != 0 ? 1 : 2;
      }
    }

    // ---- Item ------------------------------------------------------------------------------

    __device__ void load_queries() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int head = lane / 4 + 8 * h;
        const Q* q = static_cast<const Q*>(args.q) + sequence().q_begin * args.q_row_stride +
                     (int64_t{kv_head} * args.group + head) * args.q_head_stride;
        HOPSKIP_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          HOPSKIP_UNROLL
          for (int u = 0; u < 2; ++u) {
            // Any order of the columns will do, if it is that of the keys' fragments.
            const int column = 16 * step + (kFp8 ? 4 * (lane % 4) + 2 * u : 2 * (lane % 4) + 8 * u);
            uint32_t pair = 0;
            if (head < args.group) {
              pair = *reinterpret_cast<const uint32_t*>(q + column);
              if constexpr (!std::is_same_v<Q, Operand>) {
                pair =
                    pack2<Operand>(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000));
              }
            }
            r_q[step][h + 2 * u] = pair;
          }
        }
      }
    }

    // This warp's part of the keys at both ends, then the maximum over all warps' parts.
    __device__ void find_seed() {
      r_seed[0] = r_seed[1] = -INFINITY;
      for (int end = 0; end < 2; ++end) {
        const int key = seed_key(end);
        if (key >= 0) {
          const int stage = k_uses % kDecodeKStages;
          ptx::mbarrier_wait(&s.k_full[warp][stage], k_uses / kDecodeKStages & 1);
          ++k_uses;
          float score[2][4];
          Products::score_slice(r_q, ptx::shared_address(s.rings[warp].k[stage]), 0, lane, score);
          __syncwarp();
          load_next_keys();
          mask_slice(key, score);
          r_seed[0] = fmaxf(r_seed[0], slice_max(score, 0));
          r_seed[1] = fmaxf(r_seed[1], slice_max(score, 1));
        }
      }
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        r_seed[h] = quad_max(r_seed[h]);
        if (lane % 4 == 0) {
          s.seed[warp][lane / 4 + 8 * h] = r_seed[h];
        }
      }
      __syncthreads();
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        HOPSKIP_UNROLL
        for (int w = 0; w < kDecodeWarps; ++w) {
          r_seed[h] = fmaxf(r_seed[h], s.seed[w][lane / 4 + 8 * h]);
        }
      }
      __syncthreads();  // all have read the seeds before one at its end writes bases there
    }
    // The slice of seed keys of this warp at the first (0) or last (1) end; −1: none.
    __device__ int seed_key(int end) const {
      const int first = visible.x / kDecodeSliceKeys * kDecodeSliceKeys;
      const int last =
          (visible.y + kDecodeSliceKeys - 1) / kDecodeSliceKeys * kDecodeSliceKeys - kSeedKeys;
      const int key = (end == 0 ? first : last) + warp * kDecodeSliceKeys;
      return key >= first && key < visible.y ? key : -1;
    }

    __device__ const DecodeItem& item() const { return args.items[number]; }
    __device__ const Sequence& sequence() const { return args.sequences[item().sequence]; }

    __device__ bool exists() const { return number < *args.num_items; }

    // Where the item's keys are, if it exists, and which of them are this warp's.
    __device__ void locate(int item_number) {
      number = item_number;
      if (!exists()) {
        return;
      }
      kv_head = item().kv_head;
      kv_begin = sequence().kv_begin;
      skip_map = sequence().skip_map;
      const int kv_len = sequence().kv_len;
      visible = {args.window > 0 ? max(0, kv_len - args.window) : 0, kv_len};
      const int quarter = *args.split_keys / kDecodeWarps;
      const int range_begin = item().key_begin + warp * quarter;
      first_key = max(range_begin, visible.x / kStageKeys * kStageKeys);
      end_key = min(range_begin + quarter, visible.y);
      k_next = first_key;
    }

    // The item that was located.
    __device__ void run() {
      const float threshold_log2 = sequence_threshold(args, sequence());
      const bool seeded = threshold_log2 != kDenseThresholdLog2;
      if (seeded) {
        for (int end = 0; end < 2; ++end) {
          if (seed_key(end) >= 0) {
            load_keys(seed_key(end), kDecodeSliceKeys);
          }
        }
      }
      while (k_loads - k_uses < kDecodeKStages && k_next < end_key) {
        load_next_keys();
      }
      load_queries();
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const bool exists = lane / 4 + 8 * h < args.group;
        r_bound_threshold[h] = exists ? threshold_log2 / args.scale_log2 : INFINITY;
        r_m[h] = -INFINITY;
        r_seed[h] = -INFINITY;
        r_base[h] = kNoBase;
        r_l[h] = 0.0f;
      }
      HOPSKIP_UNROLL
      for (int j = 0; j < kHeadDim / 8; ++j) {
        HOPSKIP_UNROLL
        for (int e = 0; e < 4; ++e) {
          r_o[j][e] = 0.0f;
        }
      }
      skipped = 0;
      if (seeded) {
        find_seed();
      }
      Pending pending;
      for (int key = first_key; key < end_key; key += kStageKeys) {
        step(key, pending);
      }
      multiply(pending);
      finish(seeded);
    }

    __device__ void finish(bool seeded) {
      // Counts: slices of which no key is visible were left out as well.
      if (lane == 0) {
        const int begin = max(first_key, visible.x) / kDecodeSliceKeys;
        const int slices =
            end_key > first_key ? (end_key + kDecodeSliceKeys - 1) / kDecodeSliceKeys - begin : 0;
        const int visited = max(0, end_key - first_key + kStageKeys - 1) / kStageKeys * kSlices;
        s.counts[warp] = {slices, seeded ? skipped - (visited - slices) : 0};
      }
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        float l = r_l[h];
        l += __shfl_xor_sync(0xffffffff, l, 1);
        l += __shfl_xor_sync(0xffffffff, l, 2);
        if (lane % 4 == 0) {
          s.base[warp][lane / 4 + 8 * h] = r_base[h];
          s.sum[warp][lane / 4 + 8 * h] = l;
        }
      }
      __syncthreads();  // the rings are not used any more
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int r = lane / 4 + 8 * h;
        float base = s.base[0][r];
        HOPSKIP_UNROLL
        for (int w = 1; w < kDecodeWarps; ++w) {
          base = fmaxf(base, s.base[w][r]);
        }
        float sum = 0.0f;
        HOPSKIP_UNROLL
        for (int w = 0; w < kDecodeWarps; ++w) {
          sum += s.sum[w][r] * ptx::exp2_approx(s.base[w][r] - base);
        }
        const float factor = sum > 0.0f ? ptx::exp2_approx(r_base[h] - base) / sum : 0.0f;
        if (warp == 0 && lane % 4 == 0) {
          s.lse[r] = sum > 0.0f ? base + log2f(sum) : -INFINITY;
        }
        HOPSKIP_UNROLL
        for (int j = 0; j < kHeadDim / 8; ++j) {
          HOPSKIP_UNROLL
          for (int e = 0; e < 2; ++e) {
            s.merge.out[warp][r][Products::column(lane, j, e)] = r_o[j][2 * h + e] * factor;
          }
        }
      }
      __syncthreads();
      for (int i = threadIdx.x; i < args.group * kHeadDim; i += kDecodeThreads) {
        float& out = s.merge.out[0][i / kHeadDim][i % kHeadDim];
        HOPSKIP_UNROLL
        for (int w = 1; w < kDecodeWarps; ++w) {
          out += s.merge.out[w][i / kHeadDim][i % kHeadDim];
        }
      }
      if (args.counts != nullptr && threadIdx.x < args.group) {
        int2 total = {0, 0};
        HOPSKIP_UNROLL
        for (int w = 0; w < kDecodeWarps; ++w) {
          total.x += s.counts[w].x;
          total.y += s.counts[w].y;
        }
        auto* counts = reinterpret_cast<unsigned long long*>(
            &args.counts[int64_t{sequence().index} * args.num_heads + kv_head * args.group +
                         threadIdx.x]);
        atomicAdd(&counts[0], total.x);
        if (total.y > 0) {
          atomicAdd(&counts[1], total.y);
        }
      }
      __syncthreads();
      finish_decode_item<Q, kHeadDim, kDecodeThreads>(args, item(), &s.merge.out[0][0][0], s.lse,
                                                      threadIdx.x);
      ptx::fence_proxy_async();  // the rings' memory was written; TMA is next
    }
  };

  static __device__ void run(const AttentionArgs& args, const DecodeMaps& maps, char* memory) {
    Shared& s = *reinterpret_cast<Shared*>(memory);
    if (threadIdx.x == 0) {
      ptx::tma_prefetch_descriptor(&maps.k);
      ptx::tma_prefetch_descriptor(&maps.v);
      for (int warp = 0; warp < kDecodeWarps; ++warp) {
        for (int stage = 0; stage < kDecodeKStages; ++stage) {
          ptx::mbarrier_init(&s.k_full[warp][stage], 1);
        }
        for (int stage = 0; stage < kDecodeVStages; ++stage) {
          ptx::mbarrier_init(&s.v_full[warp][stage], 1);
        }
      }
      ptx::fence_barrier_init();
    }
    Warp warp(args, maps, s);
    // The plan was copied, and no kernel starts before a copy has ended: where the first item's
    // keys are is found out while the kernel before ends. These loads wait for each other, a
    // microsecond or two.
    warp.locate(blockIdx.x);
    wait_for_previous();
    while (warp.exists()) {
      __syncthreads();  // barriers are ready; all are done with the item before
      warp.run();
      if (threadIdx.x == 0) {
        s.item = gridDim.x + atomicAdd(&args.work[0], 1);
      }
      __syncthreads();
      warp.locate(s.item);
    }
    if (threadIdx.x == 0) {
      finish_grid(args);
    }
  }
};

template <typename Q, typename Kv, int kHeadDim>
__global__ void __launch_bounds__(kDecodeThreads, DecodeKernel<Q, Kv, kHeadDim>::kCtas)
    attention_decode(const __grid_constant__ AttentionArgs args,
                     const __grid_constant__ DecodeMaps maps) {
  extern __shared__ __align__(1024) char memory[];
  DecodeKernel<Q, Kv, kHeadDim>::run(args, maps, memory);
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_KERNEL_CUH_
