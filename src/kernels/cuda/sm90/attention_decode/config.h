// Sizes of Hopper's decode attention. Reasons and measurements: docs/kernels/decode.md.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_CONFIG_H_
#define HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_CONFIG_H_

#include <algorithm>

namespace hopskip::cuda::sm90 {

inline constexpr int kDecodeSliceKeys = 16;  // that vote together: mma.sync's K in P · V
inline constexpr int kDecodeRows = 16;       // mma.sync's M: query heads of a KV head, padded

// Each warp streams its own range of keys through its own rings. Two CTAs run on a multiprocessor,
// so that one streams while the other starts or ends an item.
inline constexpr int kDecodeWarps = 4;
inline constexpr int kDecodeThreads = 32 * kDecodeWarps;

// A stage is the keys that a warp scores at once. By Little's law 4.8 TB/s · 1 µs over 132
// multiprocessors is 36 KB that have to be on their way; 8 warps with up to 5 stages of 4 KB have
// 160 KB.
inline constexpr int kDecodeStageBytes = 4096;
inline constexpr int kDecodeKStages = 5;
inline constexpr int kDecodeVStages = 2;

// CTAs that a grid has for each multiprocessor.
inline constexpr int kDecodeCtas = 2;
// A warp's quarter of a split is whole stages: up to 64 keys of head_dim 64 in FP8.
inline constexpr int kDecodeSplitMultiple = kDecodeWarps * 64;

// A slice of rows of 512 bytes makes a stage of 8 KB: then one CTA fills the shared memory.
constexpr int decode_ctas(int row_bytes) {
  return kDecodeSliceKeys * row_bytes > kDecodeStageBytes ? 1 : kDecodeCtas;
}

constexpr int decode_stage_keys(int row_bytes) {
  return std::max(kDecodeSliceKeys, kDecodeStageBytes / row_bytes);
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_ATTENTION_DECODE_CONFIG_H_
