// Decode attention with Skip Softmax for every GPU from Ampere on: one query token of each
// sequence.
//
// An item is a range of keys of one KV head; all query heads of the group (up to 16) share it. Each
// warp of a CTA takes its part of the range and works alone:
//
//   copy   K(0) K(1) ┊        V(0) K(2)        ┊        V(1) K(3)             ┊ …
//   warp             ┊ S(0) vote ↑ weights(0)  ┊ S(1) vote ↑ O(0) weights(1)  ┊ …
//
// When a stage is scored, its slices of 16 keys vote. V of those that stay is asked for; while it
// comes, the stage before is multiplied. A slice that votes out costs neither its V nor an
// exponential.
//
// A warp's running maximum would know nothing of the rest of the sequence. So votes compare with
// the maximum over the first and the last 64 keys, too; every CTA scores them.
//
// Tuning is in config.h.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_KERNEL_CUH_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_KERNEL_CUH_

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "attention/skip_rule.h"
#include "attention/tile_plan.h"
#include "kernels/cuda/common/decode_combine.cuh"
#include "kernels/cuda/common/grid.cuh"
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/pack.cuh"
#include "kernels/cuda/kernel_params.h"
#include "kernels/cuda/ptx/sm80.cuh"
#include "kernels/cuda/sm80/attention_decode/config.h"
#include "kernels/cuda/sm80/attention_decode/slice.cuh"

namespace hopskip::cuda::sm80 {

// Q: type of queries and outputs. Kv: type of K and V, Q or Fp8.
template <typename Q, typename Kv, int kHeadDim>
struct DecodeKernel {
  using Slice = DecodeSlice<Q, Kv, kHeadDim>;
  using Operand = typename Slice::Operand;
  static constexpr int kRowBytes = Slice::kRowBytes;
  static constexpr int kRowChunks = Slice::kRowChunks;
  static constexpr int kChunkColumns = 16 / static_cast<int>(sizeof(Kv));
  static constexpr int kStageKeys = decode_stage_keys(kRowBytes);
  static constexpr int kSlices = kStageKeys / kDecodeSliceKeys;
  static constexpr uint32_t kAllSlices = (1u << kSlices) - 1;
  static constexpr int kSliceBytes = Slice::kBytes;
  static constexpr int kStageBytes = kStageKeys * kRowBytes;
  static constexpr int kWarps = decode_warps(kRowBytes);
  static constexpr int kThreads = 32 * kWarps;
  static_assert(kHeadDim % 64 == 0 && kRowChunks <= 32);
  static_assert(kDecodeSplitMultiple % (kWarps * kStageKeys) == 0);

  // Slices that seed the running maximum: at both ends, divided among the warps, as many at a time
  // as the stages of V hold.
  static constexpr int kEndSlices = kSeedKeys / kDecodeSliceKeys;
  static constexpr int kSeedSlices = 2 * kEndSlices / kWarps;
  static constexpr int kSeedBatch =
      kSeedSlices < kDecodeStages * kSlices ? kSeedSlices : kDecodeStages * kSlices;
  static_assert(kSeedSlices * kWarps == 2 * kEndSlices && kSeedSlices % kSeedBatch == 0);

  struct Ring {
    alignas(1024) uint8_t k[kDecodeStages * kStageBytes];
    alignas(1024) uint8_t v[kDecodeStages * kStageBytes];
  };
  struct Shared {
    union {
      Ring rings[kWarps];
      float out[kWarps][kDecodeRows][kDecodeOutStride<kHeadDim>];  // at the end of an item
    };
    DecodeItem item;
    Sequence sequence;
    float seed[kWarps][kDecodeRows];     // maxima of the seeds that a warp scored
    float maximum[kWarps][kDecodeRows];  // raw scores that a warp's sums are relative to
    float sum[kWarps][kDecodeRows];
    float lse[kDecodeRows];
    int2 slices[kWarps];  // visible, skipped
  };

  // Pages of 32 consecutive slices, one in each lane: looking each up on its own would take longer
  // than to score it. Slices are asked for in ascending order, by whole warps.
  struct Pages {
    int first = -32;
    int page;

    __device__ int of(int slice, const AttentionArgs& args, int kv_begin, int last_slice) {
      if (slice >= first + 32) {
        first = slice;
        const int key =
            min(slice + static_cast<int>(threadIdx.x) % 32, last_slice) * kDecodeSliceKeys;
        page = args.pages[kv_begin + (key >> args.page_log2)];
      }
      return __shfl_sync(0xffffffff, page, slice - first);
    }
  };

  // One warp; DecodeSlice says what a lane holds.
  struct Warp {
    const AttentionArgs& args;
    Shared& s;
    const int warp;
    const int lane;
    const uint32_t s_k;  // stages
    const uint32_t s_v;
    const int2 visible;  // keys [x, y) that the query sees
    const int last_slice;
    Pages k_pages;
    Pages v_pages;
    float threshold;                 // log2(λ) in raw scores
    uint32_t r_q[Slice::kSteps][4];  // A operand of S = Q · Kᵀ
    float r_s[kSlices][2][4];        // raw scores of a stage
    uint32_t r_p[kSlices][4];        // weights of the stage before, A operand of O += P · V
    uint32_t wanted = 0;             // its slices that take part
    float r_o[kHeadDim / 8][4];      // sum of weights · V; columns: see Slice::column
    float r_seed[2];                 // maximum of the seeds, for the vote alone
    float r_m[2];                    // running maximum of the raw scores of this warp's keys
    float r_base[2];                 // raw score that sums are relative to
    float r_l[2];                    // sum of this lane's weights
    int2 slices = {0, 0};            // visible, skipped

    __device__ Warp(const AttentionArgs& args_in, Shared& shared)
        : args(args_in),
          s(shared),
          warp(threadIdx.x / 32),
          lane(threadIdx.x % 32),
          s_k(ptx::shared_address(shared.rings[threadIdx.x / 32].k)),
          s_v(ptx::shared_address(shared.rings[threadIdx.x / 32].v)),
          visible{args_in.window > 0 ? max(0, shared.sequence.kv_len - args_in.window) : 0,
                  shared.sequence.kv_len},
          last_slice((shared.sequence.kv_len - 1) / kDecodeSliceKeys) {
      threshold = sequence_threshold(args, s.sequence) / args.scale_log2;
      HOPSKIP_UNROLL
      for (int j = 0; j < kHeadDim / 8; ++j) {
        HOPSKIP_UNROLL
        for (int e = 0; e < 4; ++e) {
          r_o[j][e] = 0.0f;
        }
      }
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        r_seed[h] = r_m[h] = r_base[h] = -INFINITY;
        r_l[h] = 0.0f;
      }
    }

    __device__ bool exists(int h) const { return lane / 4 + 8 * h < args.group; }

    // ---- Load ------------------------------------------------------------------------------

    __device__ void load_queries() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int64_t head = s.item.kv_head * args.group + lane / 4 + 8 * h;
        const Q* g_row = static_cast<const Q*>(args.q) + s.sequence.q_begin * args.q_row_stride +
                         head * args.q_head_stride;
        HOPSKIP_UNROLL
        for (int step = 0; step < Slice::kSteps; ++step) {
          HOPSKIP_UNROLL
          for (int half = 0; half < 2; ++half) {
            uint32_t pair = 0;
            if (exists(h)) {
              pair = __ldg(
                  reinterpret_cast<const uint32_t*>(g_row + Slice::query_column(step, half, lane)));
            }
            if constexpr (!std::is_same_v<Q, Operand>) {
              pair =
                  pack2<Operand>(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000));
            }
            r_q[step][2 * half + h] = pair;
          }
        }
      }
    }

    // Copies a slice of K or V to shared memory; keys that the query does not see become zeros:
    // weights of 0 must not meet a NaN.
    __device__ void copy_slice(const void* g_data, int slice, int page, uint32_t to) const {
      constexpr int kCopyKeys = 32 / kRowChunks;
      const int chunk = lane % kRowChunks;
      const int key = slice * kDecodeSliceKeys;
      const int64_t token =
          args.page_size > 0 ? key & (args.page_size - 1) : int64_t{s.sequence.kv_begin} + key;
      const Kv* g_slice = static_cast<const Kv*>(g_data) + page * args.kv.page +
                          token * args.kv.token + s.item.kv_head * args.kv.head +
                          chunk * kChunkColumns;
      HOPSKIP_UNROLL
      for (int i = 0; i < kDecodeSliceKeys / kCopyKeys; ++i) {
        const int row = lane / kRowChunks + i * kCopyKeys;
        const bool sees = key + row >= visible.x && key + row < visible.y;
        ptx::cp_async(to + Slice::place(row, chunk), g_slice + row * args.kv.token, sees ? 16 : 0);
      }
    }

    __device__ void copy_keys(int stage_key, int stage) {
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        const int slice = stage_key / kDecodeSliceKeys + i;
        const int page =
            args.page_size > 0 ? k_pages.of(slice, args, s.sequence.kv_begin, last_slice) : 0;
        copy_slice(args.k, slice, page, s_k + stage * kStageBytes + i * kSliceBytes);
      }
    }

    __device__ void copy_values(int stage_key, int stage, uint32_t slices_wanted) {
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        if ((slices_wanted >> i & 1) != 0) {
          const int slice = stage_key / kDecodeSliceKeys + i;
          const int page =
              args.page_size > 0 ? v_pages.of(slice, args, s.sequence.kv_begin, last_slice) : 0;
          copy_slice(args.v, slice, page, s_v + stage * kStageBytes + i * kSliceBytes);
        }
      }
    }

    // ---- Compute ---------------------------------------------------------------------------

    __device__ void mask(int slice, float (&scores)[2][4]) const {
      HOPSKIP_UNROLL
      for (int half = 0; half < 2; ++half) {
        HOPSKIP_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int key = slice * kDecodeSliceKeys + half * 8 + lane % 4 * 2 + e % 2;
          float& score = scores[half][e];
          score = key >= visible.x && key < visible.y ? score : -INFINITY;
        }
      }
    }

    __device__ static float quad_max(float value) {
      value = fmaxf(value, __shfl_xor_sync(0xffffffff, value, 1));
      return fmaxf(value, __shfl_xor_sync(0xffffffff, value, 2));
    }

    // Seed i of this warp: the first kEndSlices are the first that the query sees, the others the
    // last; short sequences lack some.
    __device__ int seed_slice(int i) const {
      const int seed = warp * kSeedSlices + i;
      return seed < kEndSlices ? visible.x / kDecodeSliceKeys + seed
                               : last_slice + 1 - 2 * kEndSlices + seed;
    }
    __device__ bool sees_slice(int slice) const {
      return slice >= visible.x / kDecodeSliceKeys && slice <= last_slice;
    }

    // The maxima of this warp's seeds, into s.seed.
    __device__ void score_seeds() {
      float best[2] = {-INFINITY, -INFINITY};
      for (int batch = 0; batch < kSeedSlices; batch += kSeedBatch) {
        HOPSKIP_UNROLL
        for (int i = 0; i < kSeedBatch; ++i) {
          const int slice = seed_slice(batch + i);
          if (sees_slice(slice)) {
            const int page =
                args.page_size > 0
                    ? args.pages[s.sequence.kv_begin + (slice * kDecodeSliceKeys >> args.page_log2)]
                    : 0;
            copy_slice(args.k, slice, page, s_v + i * kSliceBytes);
          }
        }
        ptx::cp_async_commit();
        ptx::cp_async_wait<0>();
        __syncwarp();
        HOPSKIP_UNROLL
        for (int i = 0; i < kSeedBatch; ++i) {
          const int slice = seed_slice(batch + i);
          if (sees_slice(slice)) {
            float scores[2][4];
            Slice::score(s_v + i * kSliceBytes, r_q, lane, scores);
            mask(slice, scores);
            best[0] = fmaxf(best[0], Slice::part_max(scores, 0));
            best[1] = fmaxf(best[1], Slice::part_max(scores, 1));
          }
        }
        __syncwarp();  // all have read the stages of V
      }
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        best[h] = quad_max(best[h]);
        if (lane % 4 == 0) {
          s.seed[warp][lane / 4 + 8 * h] = best[h];
        }
      }
    }

    __device__ void read_seeds() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        HOPSKIP_UNROLL
        for (int w = 0; w < kWarps; ++w) {
          r_seed[h] = fmaxf(r_seed[h], s.seed[w][lane / 4 + 8 * h]);
        }
      }
    }

    __device__ void score(int stage_key, int stage) {
      const bool whole = stage_key >= visible.x && stage_key + kStageKeys <= visible.y;
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        Slice::score(s_k + stage * kStageBytes + i * kSliceBytes, r_q, lane, r_s[i]);
        if (!whole) {
          mask(stage_key / kDecodeSliceKeys + i, r_s[i]);
        }
      }
    }

    // Raises the running maximum to the stage's. Returns the slices that all heads agree to skip.
    __device__ uint32_t vote() {
      uint32_t agreed = kAllSlices;
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        float stage_max = -INFINITY;
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          stage_max = fmaxf(stage_max, Slice::part_max(r_s[i], h));
        }
        r_m[h] = fmaxf(r_m[h], quad_max(stage_max));
        const float running_max = fmaxf(r_m[h], r_seed[h]);
        // A row agrees where its maximum does, so where each lane's part of it does.
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          if (exists(h) &&
              !row_agrees_to_skip(Slice::part_max(r_s[i], h), running_max, threshold)) {
            agreed &= ~(1u << i);
          }
        }
      }
      return ptx::reduce_and(agreed);
    }

    __device__ void record(int stage_key, uint32_t agreed) {
      const int first = stage_key / kDecodeSliceKeys;
      const int low = max(0, visible.x / kDecodeSliceKeys - first);
      const int high = min(kSlices, last_slice + 1 - first);
      slices.x += high - low;
      slices.y += __popc(agreed & ((1u << high) - (1u << low)));
      if (args.skip_map != nullptr && lane >= low && lane < high) {
        args.skip_map[s.sequence.skip_map + s.item.kv_head * (int64_t{last_slice} + 1) + first +
                      lane] = (agreed >> lane & 1) != 0 ? 2 : 1;
      }
    }

    // r_o += P · V of the stage before.
    __device__ void multiply(int stage) {
      HOPSKIP_UNROLL
      for (int i = 0; i < kSlices; ++i) {
        if ((wanted >> i & 1) != 0) {
          Slice::multiply(s_v + stage * kStageBytes + i * kSliceBytes, r_p[i], lane, r_o);
        }
      }
    }

    // Sums so far become relative to the running maximum.
    __device__ void rescale() {
      float factor[2];
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        factor[h] = r_base[h] == r_m[h]
                        ? 1.0f
                        : ptx::exp2_approx(r_base[h] * args.scale_log2 - r_m[h] * args.scale_log2);
        r_base[h] = r_m[h];
      }
      if (__any_sync(0xffffffff, factor[0] != 1.0f || factor[1] != 1.0f)) {
        r_l[0] *= factor[0];
        r_l[1] *= factor[1];
        HOPSKIP_UNROLL
        for (int j = 0; j < kHeadDim / 8; ++j) {
          HOPSKIP_UNROLL
          for (int e = 0; e < 4; ++e) {
            r_o[j][e] *= factor[e / 2];
          }
        }
      }
    }

    // r_p from r_s, for the wanted slices.
    __device__ void make_weights() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const float base = r_base[h] == -INFINITY ? 0.0f : r_base[h] * args.scale_log2;
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          if ((wanted >> i & 1) == 0) {
            continue;
          }
          HOPSKIP_UNROLL
          for (int half = 0; half < 2; ++half) {
            const float* r = &r_s[i][half][2 * h];
            const float p0 = ptx::exp2_approx(r[0] * args.scale_log2 - base);
            const float p1 = ptx::exp2_approx(r[1] * args.scale_log2 - base);
            r_l[h] += p0 + p1;
            r_p[i][2 * half + h] = pack2<Operand>(p0, p1);
          }
        }
      }
    }

    // The item's keys that fall to this warp.
    __device__ void attend() {
      const int part = *args.split_keys / kWarps;
      const int begin = max(s.item.key_begin + warp * part, visible.x);
      const int end = min(s.item.key_begin + warp * part + part, s.item.key_end);
      const int first = begin / kStageKeys;
      const int stages = end > begin ? (end - 1) / kStageKeys - first + 1 : 0;
      const auto key_of = [&](int n) { return (first + n) * kStageKeys; };
      const auto copy_keys_of = [&](int n) {
        if (n < stages) {
          copy_keys(key_of(n), n % kDecodeStages);
        }
      };

      copy_keys_of(0);
      copy_keys_of(1);
      load_queries();
      score_seeds();  // waits for what was copied so far
      __syncthreads();
      read_seeds();
      for (int n = 0; n < stages; ++n) {
        score(key_of(n), n % kDecodeStages);
        const uint32_t agreed = vote();
        record(key_of(n), agreed);
        __syncwarp();  // all have read K(n) and V(n − 2)
        const uint32_t wanted_now = ~agreed & kAllSlices;
        copy_values(key_of(n), n % kDecodeStages, wanted_now);
        copy_keys_of(n + kDecodeStages);
        ptx::cp_async_commit();
        ptx::cp_async_wait<1>();
        __syncwarp();  // V(n − 1) and K(n + 1) have arrived for all
        multiply((n + 1) % kDecodeStages);
        wanted = wanted_now;
        if (wanted != 0) {
          rescale();
          make_weights();
        }
      }
      ptx::cp_async_wait<0>();
      __syncwarp();
      multiply((stages + 1) % kDecodeStages);
    }

    // ---- Epilogue --------------------------------------------------------------------------

    // The warps' results become one: s.out[0], s.lse.
    __device__ void merge() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        float l = r_l[h];
        l += __shfl_xor_sync(0xffffffff, l, 1);
        l += __shfl_xor_sync(0xffffffff, l, 2);
        if (lane % 4 == 0) {
          s.maximum[warp][lane / 4 + 8 * h] = r_base[h];
          s.sum[warp][lane / 4 + 8 * h] = l;
        }
      }
      if (lane == 0) {
        s.slices[warp] = slices;
      }
      __syncthreads();  // and all have left their stages
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int row = lane / 4 + 8 * h;
        float largest = -INFINITY;
        HOPSKIP_UNROLL
        for (int w = 0; w < kWarps; ++w) {
          largest = fmaxf(largest, s.maximum[w][row]);
        }
        const float base = largest == -INFINITY ? 0.0f : largest * args.scale_log2;
        float sum = 0.0f;
        HOPSKIP_UNROLL
        for (int w = 0; w < kWarps; ++w) {
          sum += s.sum[w][row] * exp2f(s.maximum[w][row] * args.scale_log2 - base);
        }
        const float factor = sum > 0.0f ? exp2f(r_base[h] * args.scale_log2 - base) / sum : 0.0f;
        HOPSKIP_UNROLL
        for (int j = 0; j < kHeadDim / 8; ++j) {
          HOPSKIP_UNROLL
          for (int u = 0; u < 2; ++u) {
            s.out[warp][row][Slice::column(j, u, lane)] = r_o[j][2 * h + u] * factor;
          }
        }
        if (warp == 0 && lane % 4 == 0) {
          s.lse[row] = sum > 0.0f ? base + log2f(sum) : -INFINITY;
        }
      }
      __syncthreads();
      for (int i = threadIdx.x; i < args.group * (kHeadDim / 4); i += kThreads) {
        const int row = i / (kHeadDim / 4);
        const int from = i % (kHeadDim / 4) * 4;
        float4& total = *reinterpret_cast<float4*>(&s.out[0][row][from]);
        HOPSKIP_UNROLL
        for (int w = 1; w < kWarps; ++w) {
          const float4 part = *reinterpret_cast<const float4*>(&s.out[w][row][from]);
          total = {total.x + part.x, total.y + part.y, total.z + part.z, total.w + part.w};
        }
      }
      __syncthreads();
    }

    // All heads of the group count the tiles on which they voted together.
    __device__ void count() const {
      if (args.counts == nullptr || static_cast<int>(threadIdx.x) >= args.group) {
        return;
      }
      int2 all = {0, 0};
      HOPSKIP_UNROLL
      for (int w = 0; w < kWarps; ++w) {
        all.x += s.slices[w].x;
        all.y += s.slices[w].y;
      }
      const int64_t head = s.item.kv_head * args.group + threadIdx.x;
      auto* counts = reinterpret_cast<unsigned long long*>(
          &args.counts[int64_t{s.sequence.index} * args.num_heads + head]);
      atomicAdd(&counts[0], all.x);
      if (all.y > 0) {
        atomicAdd(&counts[1], all.y);
      }
    }
  };

  // ---- Kernel ------------------------------------------------------------------------------

  static __device__ void take_item(const AttentionArgs& args, Shared& s) {
    const int index = atomicAdd(&args.work[0], 1);
    if (index < *args.num_items) {
      s.item = args.items[index];
      s.sequence = args.sequences[s.item.sequence];
    } else {
      s.item.sequence = -1;  // there is no more work
    }
  }

  static __device__ void run(const AttentionArgs& args, char* memory) {
    Shared& s = *reinterpret_cast<Shared*>(memory);
    for (;;) {
      __syncthreads();  // all have left the item before
      if (threadIdx.x == 0) {
        take_item(args, s);
      }
      __syncthreads();
      if (s.item.sequence < 0) {
        break;
      }
      Warp warp(args, s);
      warp.attend();
      warp.merge();
      warp.count();
      finish_decode_item<Q, kHeadDim, kThreads>(args, s.item, s.out[0][0], s.lse, threadIdx.x);
    }
    if (threadIdx.x == 0) {
      finish_grid(args);
    }
  }
};

template <typename Q, typename Kv, int kHeadDim>
__global__ void __launch_bounds__(DecodeKernel<Q, Kv, kHeadDim>::kThreads, kDecodeCtas)
    attention_decode(const __grid_constant__ AttentionArgs args) {
  extern __shared__ __align__(1024) char memory[];
  DecodeKernel<Q, Kv, kHeadDim>::run(args, memory);
}

}  // namespace hopskip::cuda::sm80

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_KERNEL_CUH_
