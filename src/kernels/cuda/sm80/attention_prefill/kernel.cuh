// Prefill attention with Skip Softmax for every GPU from Ampere on.
//
// A CTA computes 128 query rows of one head, 16 in each of 8 warps. Tiles of K and V pass through
// two stages of shared memory; while tile n is computed, tile n+1 is copied:
//
//   copy      K(0) V(0) │ K(1) V(1)              │ K(2) V(2)              │ …
//   8 warps             │ S(0) vote softmax O(0) │ S(1) vote softmax O(1) │ …
//                       └ one barrier for each tile
//
// The vote: each lane compares the maxima of its two rows in every slice of 16 keys with the
// running maximum, which knows the whole tile; one reduction over the warp leaves a bit mask of the
// slices that all 16 rows agree to skip. Of those, no exponential is computed and no step of P · V
// is done. Warps vote alone, so they meet at the barrier only.
//
// Tuning is in config.h.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_KERNEL_CUH_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_KERNEL_CUH_

#include <cmath>
#include <cstdint>

#include "attention/skip_rule.h"
#include "attention/tile_plan.h"
#include "kernels/cuda/common/grid.cuh"
#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/pack.cuh"
#include "kernels/cuda/common/prefill_schedule.cuh"
#include "kernels/cuda/kernel_params.h"
#include "kernels/cuda/ptx/sm80.cuh"
#include "kernels/cuda/sm80/attention_prefill/config.h"

namespace hopskip::cuda::sm80 {

namespace ptx = hopskip::ptx::sm80;

template <typename T, int kHeadDim>
struct PrefillKernel {
  static constexpr PrefillConfig kConfig = prefill_config(kHeadDim);
  static constexpr int kKeys = kConfig.tile_keys;
  static constexpr int kSlices = kKeys / kPrefillSliceKeys;
  static constexpr uint32_t kAllSlices = (1u << kSlices) - 1;

  // A row of K or V in shared memory is a row of 16-byte chunks; chunk c of key n lies at c ^ (n &
  // 7), so that the same chunk of 8 keys, and 8 chunks of the same key, cover all banks once.
  static constexpr int kRowBytes = kHeadDim * static_cast<int>(sizeof(T));
  static constexpr int kRowChunks = kRowBytes / 16;
  static constexpr int kSliceBytes = kPrefillSliceKeys * kRowBytes;
  // A thread copies one chunk of every kCopyKeys-th key.
  static constexpr int kCopyKeys = kPrefillThreads / kRowChunks;
  static constexpr int kCopies = kKeys / kCopyKeys;
  static_assert(kHeadDim % 64 == 0 && kHeadDim <= 256 && sizeof(T) == 2);
  static_assert(kSlices * kPrefillSliceKeys == kKeys && kCopies * kCopyKeys == kKeys);
  static_assert(kCopyKeys % 8 == 0, "a thread's keys share their swizzle");

  // A work item as the CTA sees it.
  struct Work {
    PrefillItem where;
    Sequence sequence;
    int rows;        // that exist, 1 … 128; 0: there is no more work
    int position;    // of the first row in the sequence
    int begin, end;  // keys that some row sees
  };

  struct Shared {
    alignas(1024) T k[kPrefillStages][kKeys][kHeadDim];
    alignas(1024) T v[kPrefillStages][kKeys][kHeadDim];
    Work work;
  };
  static constexpr int kStageBytes = kKeys * kRowBytes;

  static __device__ void make_work(const AttentionArgs& args, Work& work) {
    const int item = atomicAdd(&args.work[0], 1);
    if (item >= *args.num_items) {
      work.rows = 0;
      return;
    }
    const PrefillItem where = prefill_item<kPrefillRows>(args, item);
    const Sequence sequence = args.sequences[where.sequence];
    const int rows = min(kPrefillRows, sequence.q_len - where.row_begin);
    const int position = sequence.kv_len - sequence.q_len + where.row_begin;
    work = {.where = where,
            .sequence = sequence,
            .rows = rows,
            .position = position,
            .begin = args.window > 0 ? max(0, position + 1 - args.window) : 0,
            .end = args.causal ? position + rows : sequence.kv_len};
  }

  // ---- Copy: all threads ---------------------------------------------------------------------

  struct Copier {
    const AttentionArgs& args;
    const Work& work;
    int64_t chunk_begin;  // of this thread in a token, for the KV head
    uint32_t s_chunk;     // this thread's chunk of its first key, relative to a stage
    int first_key;        // within a tile
    int r_page[kCopies];  // of the tile to copy next

    __device__ Copier(const AttentionArgs& args_in, const Work& work_in)
        : args(args_in), work(work_in) {
      const int chunk = threadIdx.x % kRowChunks;
      first_key = threadIdx.x / kRowChunks;
      s_chunk = first_key * kRowBytes + (chunk ^ (first_key & 7)) * 16;
      chunk_begin = work.where.kv_head * args.kv.head + chunk * 8;
    }

    // The key that copy i of a tile reads; where no row sees its own, another that exists.
    __device__ int key_read(int tile, int i) const {
      return min(max(tile * kKeys + first_key + i * kCopyKeys, work.begin), work.end - 1);
    }

    // Ahead of copy(): it takes a while.
    __device__ void look_up(int tile) {
      if (args.page_size > 0) {
        HOPSKIP_UNROLL
        for (int i = 0; i < kCopies; ++i) {
          r_page[i] = args.pages[work.sequence.kv_begin + (key_read(tile, i) >> args.page_log2)];
        }
      }
    }

    // Rows that nobody sees become zeros: weights of 0 must not meet a NaN.
    __device__ void copy(int tile, uint32_t s_k, uint32_t s_v) const {
      HOPSKIP_UNROLL
      for (int i = 0; i < kCopies; ++i) {
        const int key = key_read(tile, i);
        const int bytes = key == tile * kKeys + first_key + i * kCopyKeys ? 16 : 0;
        const int64_t offset =
            chunk_begin +
            (args.page_size > 0
                 ? r_page[i] * args.kv.page + (key & (args.page_size - 1)) * args.kv.token
                 : (int64_t{work.sequence.kv_begin} + key) * args.kv.token);
        const uint32_t to = s_chunk + i * kCopyKeys * kRowBytes;
        ptx::cp_async(s_k + to, static_cast<const T*>(args.k) + offset, bytes);
        ptx::cp_async(s_v + to, static_cast<const T*>(args.v) + offset, bytes);
      }
      ptx::cp_async_commit();
    }
  };

  // ---- Compute: each warp for itself -----------------------------------------------------------

  // Lane 4 g + t holds rows g + 8 h (h = 0, 1) of the warp's 16, and of each 8 columns numbers 2 t
  // and 2 t + 1: element [2 h + u] of a fragment is column 2 t + u.
  struct Warp {
    const AttentionArgs& args;
    const Work& work;
    const int lane;
    const int first_row;             // of the CTA's
    float threshold;                 // log2(λ) in raw scores
    uint32_t r_q[kHeadDim / 16][4];  // A operand of S = Q · Kᵀ
    float r_s[kKeys / 8][4];         // raw scores of a tile, [8 keys]
    float r_o[kHeadDim / 8][4];      // sum of weights · V, [8 columns]
    float r_m[2];                    // running maximum of the raw scores, [h]
    float r_l[2];                    // sum of this lane's weights
    int skipped = 0;                 // slices

    __device__ Warp(const AttentionArgs& args_in, const Work& work_in)
        : args(args_in),
          work(work_in),
          lane(threadIdx.x % 32),
          first_row(threadIdx.x / 32 * kPrefillVoteRows) {
      threshold = sequence_threshold(args, work.sequence) / args.scale_log2;
      load_queries();
      HOPSKIP_UNROLL
      for (int j = 0; j < kHeadDim / 8; ++j) {
        HOPSKIP_UNROLL
        for (int e = 0; e < 4; ++e) {
          r_o[j][e] = 0.0f;
        }
      }
      r_m[0] = r_m[1] = -INFINITY;
      r_l[0] = r_l[1] = 0.0f;
    }

    // Positions of the warp's first and last row in the sequence; last < first where none exists.
    __device__ int first_position() const { return work.position + first_row; }
    __device__ int last_position() const {
      return work.position + min(first_row + kPrefillVoteRows, work.rows) - 1;
    }
    // The keys [x, y) that some row sees, and those that all see.
    __device__ int2 seen() const {
      if (first_row >= work.rows) {
        return {0, 0};
      }
      return {args.window > 0 ? max(0, first_position() + 1 - args.window) : 0,
              args.causal ? last_position() + 1 : work.sequence.kv_len};
    }
    __device__ int2 seen_by_all() const {
      return {args.window > 0 ? max(0, last_position() + 1 - args.window) : 0,
              args.causal ? first_position() + 1 : work.sequence.kv_len};
    }
    __device__ bool exists(int h) const { return first_row + lane / 4 + 8 * h < work.rows; }

    __device__ int64_t q_row(int h) const {
      return int64_t{work.sequence.q_begin} + work.where.row_begin + first_row + lane / 4 + 8 * h;
    }

    __device__ void load_queries() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const T* g_row = static_cast<const T*>(args.q) + q_row(h) * args.q_row_stride +
                         work.where.head * args.q_head_stride + lane % 4 * 2;
        HOPSKIP_UNROLL
        for (int step = 0; step < kHeadDim / 16; ++step) {
          HOPSKIP_UNROLL
          for (int half = 0; half < 2; ++half) {
            r_q[step][2 * half + h] =
                exists(h) ? __ldg(reinterpret_cast<const uint32_t*>(g_row + step * 16 + half * 8))
                          : 0;
          }
        }
      }
    }

    // What this lane gives ldmatrix for step 0 of a slice, relative to the slice. The matrices of K
    // are two chunks of keys 0-7, then of 8-15; those of V one chunk of all keys, then the next.
    __device__ uint32_t k_lane() const {
      return (lane / 16 * 8 + lane % 8) * kRowBytes + ((lane / 8 % 2) ^ (lane % 8)) * 16;
    }
    __device__ uint32_t v_lane() const {
      return (lane / 8 % 2 * 8 + lane % 8) * kRowBytes + ((lane / 16) ^ (lane % 8)) * 16;
    }

    // r_s = Q · Kᵀ.
    __device__ void score(uint32_t s_k) {
      HOPSKIP_UNROLL
      for (int j = 0; j < kKeys / 8; ++j) {
        HOPSKIP_UNROLL
        for (int e = 0; e < 4; ++e) {
          r_s[j][e] = 0.0f;
        }
      }
      const uint32_t from = s_k + k_lane();
      HOPSKIP_UNROLL
      for (int step = 0; step < kHeadDim / 16; ++step) {
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          uint32_t b[4];
          ptx::ldmatrix(b, (from ^ (step * 32)) + i * kSliceBytes);
          ptx::mma<T>(r_s[2 * i], r_q[step], b[0], b[1]);
          ptx::mma<T>(r_s[2 * i + 1], r_q[step], b[2], b[3]);
        }
      }
    }

    __device__ void mask(int tile) {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int position = work.position + first_row + lane / 4 + 8 * h;
        const int row_begin = args.window > 0 ? position + 1 - args.window : 0;
        const int row_end = args.causal ? position + 1 : work.sequence.kv_len;
        HOPSKIP_UNROLL
        for (int j = 0; j < kKeys / 8; ++j) {
          HOPSKIP_UNROLL
          for (int u = 0; u < 2; ++u) {
            const int key = tile * kKeys + 8 * j + lane % 4 * 2 + u;
            float& score = r_s[j][2 * h + u];
            score = key >= row_begin && key < row_end ? score : -INFINITY;
          }
        }
      }
    }

    // Raises the running maximum to the tile's. Returns the slices that all rows agree to skip.
    __device__ uint32_t vote() {
      uint32_t agreed = kAllSlices;
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        float slice_max[kSlices];  // of this lane's scores
        float tile_max = -INFINITY;
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          const float* low = &r_s[2 * i][2 * h];
          const float* high = &r_s[2 * i + 1][2 * h];
          slice_max[i] = fmaxf(fmaxf(low[0], low[1]), fmaxf(high[0], high[1]));
          tile_max = fmaxf(tile_max, slice_max[i]);
        }
        tile_max = fmaxf(tile_max, __shfl_xor_sync(0xffffffff, tile_max, 1));
        tile_max = fmaxf(tile_max, __shfl_xor_sync(0xffffffff, tile_max, 2));
        r_m[h] = fmaxf(r_m[h], tile_max);
        // A row agrees where its maximum does, so where each lane's part of it does.
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          if (exists(h) && !row_agrees_to_skip(slice_max[i], r_m[h], threshold)) {
            agreed &= ~(1u << i);
          }
        }
      }
      return ptx::reduce_and(agreed);
    }

    // Slices [x, y) of all that some row sees.
    __device__ int2 seen_slices() const {
      const int2 keys = seen();
      return {keys.x / kPrefillSliceKeys, (keys.y + kPrefillSliceKeys - 1) / kPrefillSliceKeys};
    }

    // Sums so far become relative to the new maximum; `base` is what scores are now relative to.
    __device__ void rescale(const float (&before)[2], float (&base)[2]) {
      float factor[2];
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        base[h] = r_m[h] == -INFINITY ? 0.0f : r_m[h] * args.scale_log2;
        factor[h] =
            before[h] == r_m[h] ? 1.0f : ptx::exp2_approx(before[h] * args.scale_log2 - base[h]);
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

    // r_o += P · V of slice i.
    __device__ void accumulate_slice(int i, uint32_t s_v, const float (&base)[2]) {
      uint32_t r_p[4];  // weights: A operand
      HOPSKIP_UNROLL
      for (int half = 0; half < 2; ++half) {
        HOPSKIP_UNROLL
        for (int h = 0; h < 2; ++h) {
          const float* r = &r_s[2 * i + half][2 * h];
          const float p0 = ptx::exp2_approx(r[0] * args.scale_log2 - base[h]);
          const float p1 = ptx::exp2_approx(r[1] * args.scale_log2 - base[h]);
          r_l[h] += p0 + p1;
          r_p[2 * half + h] = pack2<T>(p0, p1);
        }
      }
      const uint32_t from = s_v + v_lane();
      HOPSKIP_UNROLL
      for (int j = 0; j < kHeadDim / 16; ++j) {
        uint32_t b[4];
        ptx::ldmatrix_transposed(b, (from ^ (j * 32)) + i * kSliceBytes);
        ptx::mma<T>(r_o[2 * j], r_p, b[0], b[1]);
        ptx::mma<T>(r_o[2 * j + 1], r_p, b[2], b[3]);
      }
    }

    __device__ void attend(int tile, uint32_t s_k, uint32_t s_v) {
      const int2 keys = seen();
      if (tile * kKeys >= keys.y || (tile + 1) * kKeys <= keys.x) {
        return;  // invisible
      }
      const float before[2] = {r_m[0], r_m[1]};
      float base[2];
      score(s_k);
      const int2 full = seen_by_all();
      if (tile * kKeys < full.x || (tile + 1) * kKeys > full.y) {
        mask(tile);
      }
      const uint32_t agreed = vote();
      record(tile, agreed);
      if (agreed == 0) {  // the same, without branches
        rescale(before, base);
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          accumulate_slice(i, s_v, base);
        }
      } else if (agreed != kAllSlices) {
        rescale(before, base);
        HOPSKIP_UNROLL
        for (int i = 0; i < kSlices; ++i) {
          if ((agreed >> i & 1) == 0) {
            accumulate_slice(i, s_v, base);
          }
        }
      }
    }

    __device__ void record(int tile, uint32_t agreed) {
      const int2 slices = seen_slices();
      const int low = max(0, slices.x - tile * kSlices);
      const int high = min(kSlices, slices.y - tile * kSlices);
      skipped += __popc(agreed & ((1u << high) - (1u << low)));
      if (args.skip_map != nullptr && lane >= low && lane < high) {
        const Sequence& sequence = work.sequence;
        const int64_t row_tiles = (sequence.q_len + kPrefillVoteRows - 1) / kPrefillVoteRows;
        const int64_t key_tiles = (sequence.kv_len + kPrefillSliceKeys - 1) / kPrefillSliceKeys;
        const int64_t row_tile = (work.where.row_begin + first_row) / kPrefillVoteRows;
        args.skip_map[sequence.skip_map + (work.where.head * row_tiles + row_tile) * key_tiles +
                      tile * kSlices + lane] = (agreed >> lane & 1) != 0 ? 2 : 1;
      }
    }

    // Writes the rows that exist, their LSE and the warp's counts.
    __device__ void finish() {
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        float l = r_l[h];
        l += __shfl_xor_sync(0xffffffff, l, 1);
        l += __shfl_xor_sync(0xffffffff, l, 2);
        const float inverse = l > 0.0f ? 1.0f / l : 0.0f;
        if (exists(h) && args.lse != nullptr && lane % 4 == 0) {
          args.lse[q_row(h) * args.num_heads + work.where.head] =
              l > 0.0f ? (r_m[h] * args.scale_log2 + log2f(l)) * static_cast<float>(M_LN2)
                       : -INFINITY;
        }
        T* g_row = static_cast<T*>(args.out) + q_row(h) * args.out_row_stride +
                   work.where.head * args.out_head_stride;
        HOPSKIP_UNROLL
        for (int j = 0; j < kHeadDim / 8; j += 4) {
          uint32_t words[4];
          HOPSKIP_UNROLL
          for (int i = 0; i < 4; ++i) {
            const float* o = &r_o[j + i][2 * h];
            words[i] = pack2<T>(o[0] * inverse, o[1] * inverse);
          }
          const uint4 line = transpose_quad(words, lane);
          if (exists(h)) {
            *reinterpret_cast<uint4*>(g_row + 8 * (j + lane % 4)) = line;
          }
        }
      }
      const int2 slices = seen_slices();
      if (args.counts != nullptr && lane == 0 && slices.y > slices.x) {
        auto* counts = reinterpret_cast<unsigned long long*>(
            &args.counts[int64_t{work.sequence.index} * args.num_heads + work.where.head]);
        atomicAdd(&counts[0], slices.y - slices.x);
        if (skipped > 0) {
          atomicAdd(&counts[1], skipped);
        }
      }
    }
  };

  // ---- Kernel ----------------------------------------------------------------------------------

  static __device__ void compute(const AttentionArgs& args, Shared& s) {
    const Work& work = s.work;
    const VisitOrder order = args.window > 0 ? kPrefillWindowOrder : kPrefillOrder;
    const int first = work.begin / kKeys;
    const int last = (work.end - 1) / kKeys;
    const int visits = last - first + 1;
    const auto tile_of = [&](int visit) { return visited_span(order, visit, first, last); };
    const uint32_t s_k = ptx::shared_address(s.k);
    const uint32_t s_v = ptx::shared_address(s.v);

    Copier copier(args, work);
    copier.look_up(tile_of(0));
    copier.copy(tile_of(0), s_k, s_v);
    copier.look_up(tile_of(min(1, visits - 1)));
    Warp warp(args, work);
    for (int visit = 0; visit < visits; ++visit) {
      const int stage = visit % kPrefillStages * kStageBytes;
      ptx::cp_async_wait<0>();
      __syncthreads();  // this tile has arrived for all, and all have left the one before
      if (visit + 1 < visits) {
        const int next_stage = (visit + 1) % kPrefillStages * kStageBytes;
        copier.copy(tile_of(visit + 1), s_k + next_stage, s_v + next_stage);
        copier.look_up(tile_of(min(visit + 2, visits - 1)));
      }
      warp.attend(tile_of(visit), s_k + stage, s_v + stage);
    }
    warp.finish();
  }

  static __device__ void run(const AttentionArgs& args, char* memory) {
    Shared& s = *reinterpret_cast<Shared*>(memory);
    for (;;) {
      __syncthreads();  // all have left the item before and its tiles
      if (threadIdx.x == 0) {
        make_work(args, s.work);
      }
      __syncthreads();
      if (s.work.rows == 0) {
        break;
      }
      compute(args, s);
    }
    if (threadIdx.x == 0) {
      finish_grid(args);
    }
  }
};

template <typename T, int kHeadDim>
__global__ void __launch_bounds__(kPrefillThreads, prefill_config(kHeadDim).ctas)
    attention_prefill(const __grid_constant__ AttentionArgs args) {
  extern __shared__ __align__(1024) char memory[];
  PrefillKernel<T, kHeadDim>::run(args, memory);
}

}  // namespace hopskip::cuda::sm80

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_PREFILL_KERNEL_CUH_
