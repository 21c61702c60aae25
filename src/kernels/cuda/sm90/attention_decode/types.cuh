// Types of decode attention on Hopper: what a CTA keeps in shared memory, and the sizes of it.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_TYPES_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_TYPES_CUH_

#include <cuda.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "attention/tile_plan.h"
#include "kernels/cuda/common/decode_combine.cuh"
#include "kernels/cuda/sm90/attention_decode/config.h"

namespace hopskip::cuda::sm90 {

struct Fp8 {
  uint8_t bits;
};

struct DecodeMaps {
  CUtensorMap k;  // boxes of k_box_keys keys x one panel of columns of one head
  CUtensorMap v;  // boxes of one slice
  int32_t k_box_keys;
};

// Q: type of queries and outputs. Kv: type of K and V, Q or Fp8.
template <typename Q, typename Kv, int kHeadDim>
struct DecodeTypes {
  static constexpr bool kFp8 = std::is_same_v<Kv, Fp8>;
  using Operand = std::conditional_t<kFp8, __half, Q>;  // of the matrix products

  static constexpr int kRowBytes = kHeadDim * static_cast<int>(sizeof(Kv));
  static constexpr int kStageKeys = decode_stage_keys(kRowBytes);
  static constexpr int kSlices = kStageKeys / kDecodeSliceKeys;
  static constexpr int kPanelBytes = kRowBytes < 128 ? kRowBytes : 128;  // one swizzle width
  static constexpr int kPanels = kRowBytes / kPanelBytes;
  static constexpr int kPanelColumns = kPanelBytes / static_cast<int>(sizeof(Kv));
  static constexpr int kCtas = decode_ctas(kRowBytes);
  static constexpr int kSteps = kHeadDim / 16;  // of the scores' product
  static_assert(kHeadDim % 64 == 0 && kSlices <= 4 && kDecodeWarps * 16 == kSeedKeys);

  using Stage = uint8_t[kPanels][kStageKeys][kPanelBytes];
  struct Rings {
    alignas(1024) Stage k[kDecodeKStages];
    alignas(1024) Stage v[kDecodeVStages];
  };
  struct Merge {  // lies over the rings at the end of an item
    float out[kDecodeWarps][kDecodeRows][kDecodeOutStride<kHeadDim>];
  };
  struct Shared {
    union {
      Rings rings[kDecodeWarps];
      Merge merge;
    };
    uint64_t k_full[kDecodeWarps][kDecodeKStages];
    uint64_t v_full[kDecodeWarps][kDecodeVStages];
    union {
      float seed[kDecodeWarps][kDecodeRows];  // at the start of an item
      float base[kDecodeWarps][kDecodeRows];  // at its end
    };
    float sum[kDecodeWarps][kDecodeRows];
    float lse[kDecodeRows];
    int2 counts[kDecodeWarps];  // slices: visible, skipped
    int item;
  };

  // Without the padding that the alignment adds.
  static constexpr int kSharedBytes = static_cast<int>(offsetof(Shared, item) + sizeof(int));
  static_assert(kSharedBytes <= (228 / kCtas - 1) * 1024);

  // The address of 16 bytes of a row within a stage, as TMA's swizzle placed them.
  static __device__ uint32_t swizzled(uint32_t stage, int key, int chunk) {
    if constexpr (kPanelBytes == 128) {
      return stage + (chunk / 8 * kStageKeys + key) * 128 + ((chunk ^ key) & 7) * 16;
    } else {
      return stage + key * 64 + ((chunk ^ (key >> 1)) & 3) * 16;
    }
  }
};

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_TYPES_CUH_
