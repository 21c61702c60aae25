// The producer of prefill attention: one warp that hands out work and copies Q, K and V.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_PRODUCER_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_PRODUCER_CUH_

#include <cstdint>

#include "attention/tile_plan.h"
#include "kernels/cuda/common/grid.cuh"
#include "kernels/cuda/common/prefill_schedule.cuh"
#include "kernels/cuda/ptx/sm90.cuh"
#include "kernels/cuda/sm90/attention_prefill/types.cuh"

namespace hopskip::cuda::sm90 {

template <typename T, int kHeadDim>
struct PrefillProducer {
  using Types = PrefillTypes<T, kHeadDim>;
  using Shared = typename Types::Shared;
  static constexpr int kRows = Types::kRows;
  static constexpr int kKeys = Types::kKeys;
  static constexpr int kPanels = Types::kPanels;

  static __device__ void make_work(const AttentionArgs& args, int item, PrefillWork& work) {
    const PrefillItem where = prefill_item<kRows>(args, item);
    const Sequence& sequence = args.sequences[where.sequence];
    const int rows = min(kRows, sequence.q_len - where.row_begin);
    const int position = sequence.kv_len - sequence.q_len + where.row_begin;
    const int end = args.causal ? position + rows : sequence.kv_len;
    const int begin = args.window > 0 ? max(0, position + 1 - args.window) : 0;
    work = {.head = where.head,
            .kv_head = where.kv_head,
            .q_row = sequence.q_begin + where.row_begin,
            .rows = rows,
            .position = position,
            .row_begin = where.row_begin,
            .q_len = sequence.q_len,
            .kv_len = sequence.kv_len,
            .kv_begin = sequence.kv_begin,
            .first_tile = begin / kKeys,
            .last_tile = (end - 1) / kKeys,
            .index = sequence.index,
            .threshold_log2 = sequence_threshold(args, sequence),
            .skip_map = sequence.skip_map};
  }

  // Copies keys [key, key + kKeys) of a KV head into `tile`; boxes behind kv_len are left out.
  // Called by the whole warp: lane i copies box i.
  static __device__ void load_tile(const AttentionArgs& args, const CUtensorMap* map, int box_keys,
                                   const PrefillWork& work, int key, T (&tile)[kPanels][kKeys][64],
                                   uint64_t* full) {
    const int lane = threadIdx.x;
    const int panel = lane % kPanels;
    const int in_tile = lane / kPanels * box_keys;
    const bool mine = in_tile < min(kKeys, work.kv_len - key);
    const int boxes = __popc(__ballot_sync(0xffffffff, mine));
    if (lane == 0) {
      ptx::mbarrier_arrive_expect(full, boxes * box_keys * 128);
    }
    __syncwarp();
    if (mine) {
      int token = work.kv_begin + key + in_tile;
      int page = 0;
      if (args.page_size > 0) {
        token = (key + in_tile) & (args.page_size - 1);
        page = args.pages[work.kv_begin + ((key + in_tile) >> args.page_log2)];
      }
      ptx::tma_load(tile[panel][in_tile], map, full, 64 * panel, token, work.kv_head, page);
    }
  }

  static __device__ void produce(const AttentionArgs& args, const PrefillMaps& maps, Shared& s) {
    const int lane = threadIdx.x;
    Ring<Types::kKStages> ring_k;
    Ring<Types::kVStages> ring_v;
    for (int n = 0;; ++n) {
      PrefillWork& work = s.work[n % Types::kWorkSlots];
      if (lane == 0) {
        // Tiles of the item before are on their way for longer than this takes.
        const int item = atomicAdd(&args.work[0], 1);
        if (item < *args.num_items) {
          make_work(args, item, work);
        } else {
          work.head = -1;
        }
      }
      __syncwarp();
      ptx::mbarrier_wait(&s.q_empty, (n & 1) ^ 1);
      if (work.head < 0) {
        if (lane == 0) {
          ptx::mbarrier_arrive(&s.q_full);
        }
        return;
      }
      if (lane == 0) {
        ptx::mbarrier_arrive_expect(&s.q_full, sizeof(s.q));
        for (int panel = 0; panel < kPanels; ++panel) {
          ptx::tma_load(s.q[panel], &maps.q, &s.q_full, 64 * panel, work.q_row, work.head, 0);
        }
      }
      for (int visit = 0; visit <= work.last_tile - work.first_tile; ++visit) {
        const int key =
            kKeys * visited_span(Types::visit_order(args), visit, work.first_tile, work.last_tile);
        ptx::mbarrier_wait(&s.k_empty[ring_k.stage], ring_k.phase ^ 1);
        load_tile(args, &maps.k, maps.box_keys, work, key, s.k[ring_k.stage],
                  &s.k_full[ring_k.stage]);
        ring_k.advance();
        ptx::mbarrier_wait(&s.v_empty[ring_v.stage], ring_v.phase ^ 1);
        load_tile(args, &maps.v, maps.box_keys, work, key, s.v[ring_v.stage],
                  &s.v_full[ring_v.stage]);
        ring_v.advance();
      }
    }
  }
};

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_PRODUCER_CUH_
