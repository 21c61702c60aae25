// Sizes of the weight stream. Reasons and measurements: docs/kernels/gpu_ops.md.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_WEIGHT_STREAM_H_
#define HOPSKIP_KERNELS_CUDA_COMMON_WEIGHT_STREAM_H_

#include <algorithm>
#include <cstdint>

namespace hopskip::cuda {

inline constexpr int kStreamRows = 16;     // of a tile: mma.sync's M
inline constexpr int kStreamTokens = 8;    // its N
inline constexpr int kStreamPiece = 1024;  // elements of a row in a stage
// Rows in shared memory lie half a line of banks apart: fragments are read without conflicts.
inline constexpr int kStreamRowBytes = 2 * kStreamPiece + 64;
inline constexpr int kStreamStageBytes = kStreamRows * kStreamRowBytes;
inline constexpr int kStreamMaxStages = 6;
inline constexpr int kStreamMinStages = 3;
// A warp issues its copies one lane after the other, some 60 cycles each: 16 by one warp took
// longer than their bytes.
inline constexpr int kStreamProducers = 4;  // warps

// Dynamic shared memory of a CTA, which has a multiprocessor for itself; the rest is for sums and
// the like.
inline constexpr int64_t kStreamSharedBytes = 212 * 1024;
inline constexpr int64_t kStreamStaticBytes = 227 * 1024 - kStreamSharedBytes;

// Rows of tokens in shared memory are so many elements longer than they are: no bank conflicts.
inline constexpr int kSharedTokenPad = 32;

constexpr int64_t stream_token_bytes(int64_t tokens, int64_t length) {
  return tokens * (length + kSharedTokenPad) * 2;
}
// Stages of the ring beside them.
constexpr int stream_stages(int64_t token_bytes) {
  return static_cast<int>(
      std::min<int64_t>(kStreamMaxStages, (kStreamSharedBytes - token_bytes) / kStreamStageBytes));
}
constexpr bool stream_takes(int64_t tokens, int64_t length) {
  return tokens <= kStreamTokens &&
         stream_stages(stream_token_bytes(tokens, length)) >= kStreamMinStages;
}

static_assert(stream_takes(8, 4096) && stream_takes(8, 7168) && !stream_takes(8, 14336));

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_WEIGHT_STREAM_H_
