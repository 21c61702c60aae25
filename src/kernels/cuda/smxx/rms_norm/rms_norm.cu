#include "kernels/cuda/common/chunk.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/reduce.cuh"
#include "kernels/cuda/smxx/rms_norm/launch.h"

namespace hopskip::cuda {
namespace smxx {

constexpr int kThreads = 256;
constexpr int kHeld = 2;  // chunks that a thread keeps; those of wider rows are read twice

// kLanes threads share a row.
template <typename In, int kLanes>
__global__ void __launch_bounds__(kThreads) rms_norm(const RmsNormArgs args, bool lines) {
  let_next_start();
  wait_for_previous();
  const int64_t row = (blockIdx.x * int64_t{kThreads} + threadIdx.x) / kLanes;
  const int lane = threadIdx.x % kLanes;
  const bool exists = row < args.tokens * args.heads;
  const int64_t token = row / args.heads;
  const int64_t in_token = row % args.heads * args.cols;
  const In* x = static_cast<const In*>(args.x) + token * args.x_stride + in_token;
  auto* out = static_cast<__nv_bfloat16*>(args.out) + token * args.out_stride + in_token;
  const int cols = exists ? args.cols : 0;

  const auto load = [&](int chunk, float(&r)[kChunk]) {
    const int first = chunk * kChunk;
    load_chunk(x + first, max(0, cols - first), lines, r);
  };
  float squares = 0.0f;
  const auto add_squares = [&](const float(&r)[kChunk]) {
    HOPSKIP_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      squares += r[i] * r[i];
    }
  };
  float r_held[kHeld][kChunk];
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    load(lane + i * kLanes, r_held[i]);
  }
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    add_squares(r_held[i]);
  }
  const int chunks = static_cast<int>(chunks_of(cols));
  for (int chunk = lane + kHeld * kLanes; chunk < chunks; chunk += kLanes) {
    float r[kChunk];
    load(chunk, r);
    add_squares(r);
  }
  if constexpr (kLanes <= 32) {
    squares = lanes_sum<kLanes>(squares);
  } else {
    squares = cta_sum<kThreads>(squares);
  }
  const float factor = 1.0f / sqrtf(squares / static_cast<float>(args.cols) + args.eps);

  const auto write = [&](int chunk, const float(&r)[kChunk]) {
    const int first = chunk * kChunk;
    const int count = max(0, cols - first);
    float w[kChunk];
    load_chunk(args.weight + first, count, lines, w);
    HOPSKIP_UNROLL
    for (int i = 0; i < kChunk; ++i) {
      w[i] *= r[i] * factor;
    }
    store_chunk(out + first, count, lines, w);
  };
  HOPSKIP_UNROLL
  for (int i = 0; i < kHeld; ++i) {
    write(lane + i * kLanes, r_held[i]);
  }
  for (int chunk = lane + kHeld * kLanes; chunk < chunks; chunk += kLanes) {
    float r[kChunk];
    load(chunk, r);
    write(chunk, r);
  }
}

}  // namespace smxx

namespace {

template <typename In, int kLanes>
void launch(const RmsNormArgs& args, CudaStream stream) {
  constexpr int kRows = smxx::kThreads / kLanes;
  const int64_t rows = args.tokens * args.heads;
  const bool lines = args.cols % kChunk == 0 && on_lines<In>(args.x, args.x_stride) &&
                     on_lines<__nv_bfloat16>(args.out, args.out_stride) &&
                     on_lines<float>(args.weight, 0);
  const auto ctas = static_cast<unsigned>((rows + kRows - 1) / kRows);
  launch_overlapped("rms_norm", smxx::rms_norm<In, kLanes>, dim3(ctas), smxx::kThreads, 0, stream,
                    args, lines);
}

template <typename In>
void launch_for_width(const RmsNormArgs& args, CudaStream stream) {
  if (args.cols <= 16 * kChunk) {
    launch<In, 16>(args, stream);
  } else if (args.cols <= 32 * kChunk * smxx::kHeld) {
    launch<In, 32>(args, stream);
  } else {
    launch<In, smxx::kThreads>(args, stream);
  }
}

}  // namespace

void launch_rms_norm(const RmsNormArgs& args, CudaStream stream) {
  if (args.tokens * args.heads == 0) {
    return;
  }
  if (args.x_is_f32) {
    launch_for_width<float>(args, stream);
  } else {
    launch_for_width<__nv_bfloat16>(args, stream);
  }
}

}  // namespace hopskip::cuda
