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
inline constexpr int kStreamMaxStages = 8;
// A warp issues its copies one lane after the other, some 60 cycles each: 16 by one warp take as
// long as their bytes.
inline constexpr int kStreamProducers = 4;  // warps
inline constexpr int kStreamMinStages = 3;

// Dynamic shared memory of a CTA of which two fit on a multiprocessor, so that the next kernel can
// fill its ring while this one ends; and of one that has it for itself.
inline constexpr int64_t kStreamSharedBytes = 100 * 1024;
inline constexpr int64_t kStreamMostSharedBytes = 212 * 1024;

// Tokens in shared memory, rows kSharedTokenPad longer than they are.
constexpr int64_t stream_token_bytes(int64_t tokens, int64_t length) {
  return tokens * (length + 32) * 2;
}
// Whether they leave room for a ring.
constexpr bool stream_takes(int64_t tokens, int64_t length) {
  return tokens <= kStreamTokens &&
         stream_token_bytes(tokens, length) + kStreamMinStages * kStreamStageBytes <=
             kStreamMostSharedBytes;
}
// Of the ring beside tokens that stream_takes().
constexpr int stream_stages(int64_t token_bytes) {
  const auto fit = [&](int64_t bytes) { return (bytes - token_bytes) / kStreamStageBytes; };
  const int64_t shared = fit(kStreamSharedBytes);
  return static_cast<int>(std::min<int64_t>(
      kStreamMaxStages, shared >= kStreamMinStages ? shared : fit(kStreamMostSharedBytes)));
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_WEIGHT_STREAM_H_
