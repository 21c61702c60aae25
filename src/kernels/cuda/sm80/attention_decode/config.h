// Sizes of the decode attention that every GPU from Ampere on can run.
#ifndef HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_CONFIG_H_
#define HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_CONFIG_H_

#include <algorithm>

namespace hopskip::cuda::sm80 {

inline constexpr int kDecodeSliceKeys = 16;  // that vote together: mma.sync's K in P · V
inline constexpr int kDecodeRows = 16;       // mma.sync's M: query heads of a KV head, padded
inline constexpr int kDecodeStages = 2;      // of K, and of V

// A stage is the keys that a warp scores at once: 4 KB, or one slice.
inline constexpr int kDecodeStageBytes = 4096;
constexpr int decode_stage_keys(int row_bytes) {
  return std::max(kDecodeSliceKeys, kDecodeStageBytes / row_bytes);
}

// Each warp streams its own range of keys through its own stages. A CTA has 64 KB of them: one fits
// the smaller GPUs (8.6, 8.9, 12.0), which have 99 KB for a CTA, two the others.
constexpr int decode_warps(int row_bytes) {
  return row_bytes * kDecodeSliceKeys > kDecodeStageBytes ? 2 : 4;
}
inline constexpr int kDecodeCtas = 2;

// Ranges of CTAs are as many whole stages for every warp, whatever the type: 4 · 4096 B / 64 B.
inline constexpr int kDecodeSplitMultiple = 256;

}  // namespace hopskip::cuda::sm80

#endif  // HOPSKIP_KERNELS_CUDA_SM80_ATTENTION_DECODE_CONFIG_H_
