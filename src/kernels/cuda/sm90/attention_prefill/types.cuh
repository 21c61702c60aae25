// Types of prefill attention on Hopper: what a CTA keeps in shared memory, and the sizes of it.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_TYPES_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_TYPES_CUH_

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/common/ring.cuh"
#include "kernels/cuda/kernel_params.h"
#include "kernels/cuda/sm90/attention_prefill/config.h"

namespace hopskip::cuda::sm90 {

struct PrefillMaps {
  CUtensorMap q;  // boxes of an item's rows x 64 columns of one head
  CUtensorMap k;  // boxes of box_keys keys x 64 columns of one head; tile_keys is a multiple
  CUtensorMap v;
  int32_t box_keys;
};

// What consumers need to know of a work item.
struct PrefillWork {
  int32_t head;  // −1: no more work
  int32_t kv_head;
  int32_t q_row;      // its first row in q, out, lse
  int32_t rows;       // rows that exist, 1 … 192
  int32_t position;   // of its first row in the sequence
  int32_t row_begin;  // its first row within the step's rows of the sequence
  int32_t q_len;
  int32_t kv_len;
  int32_t kv_begin;    // as in Sequence
  int32_t first_tile;  // key tiles that some row sees
  int32_t last_tile;
  int32_t index;  // the sequence's number for the user
  float threshold_log2;
  int64_t skip_map;
};

template <typename T, int kHeadDim>
struct PrefillTypes {
  static constexpr PrefillConfig kConfig = prefill_config(kHeadDim);
  static constexpr int kConsumers = kConfig.consumers;
  static constexpr int kRows = kConfig.rows();
  static constexpr int kKeys = kConfig.tile_keys;
  static constexpr int kKStages = kConfig.k_stages;
  static constexpr int kVStages = kConfig.v_stages;
  static constexpr int kSlices = kKeys / kPrefillSliceKeys;
  static constexpr uint32_t kAllSlices = (1u << kSlices) - 1;
  static constexpr int kPanels = kHeadDim / 64;  // 64 columns = 128 bytes: one swizzle width
  static constexpr int kPanelBytesQ = kRows * 128;
  static constexpr int kPanelBytesKv = kKeys * 128;
  static_assert(kHeadDim % 64 == 0 && kSlices * kPrefillSliceKeys == kKeys && kSlices <= 32);

  // Named barriers; 0 is __syncthreads.
  static constexpr int kGroupBarrier = 1;  // + group: of one warpgroup

  // The producer writes an item while consumers may be at the end of the one before the last.
  static constexpr int kWorkSlots = 4;

  struct Shared {
    alignas(1024) T q[kPanels][kRows][64];
    alignas(1024) T k[kKStages][kPanels][kKeys][64];
    alignas(1024) T v[kVStages][kPanels][kKeys][64];
    alignas(16) uint32_t votes[kConsumers][2][4];  // [group][parity][warp]: slices the warp wants
    PrefillWork work[kWorkSlots];
    uint64_t voted[kConsumers];  // all warps of the group have written their votes
    uint64_t q_full;             // work[] and Q of the item have arrived
    uint64_t q_empty;            // consumers are done with their last product with Q
    uint64_t k_full[kKStages];
    uint64_t k_empty[kKStages];
    uint64_t v_full[kVStages];
    uint64_t v_empty[kVStages];
  };

  static __device__ VisitOrder visit_order(const AttentionArgs& args) {
    return args.window > 0 ? kPrefillWindowOrder : kPrefillOrder;
  }
};

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_PREFILL_TYPES_CUH_
