// Products of weight rows with up to 8 tokens on Hopper, at the pace of memory.
//
// The rows are shared out evenly over one CTA a multiprocessor, to the row. A CTA takes 16 of them
// at a time; some of its warps copy their pieces into a ring in shared memory (TMA's bulk copies:
// no registers, no waiting), the others multiply: rows are the A operand of mma.sync, tokens its 8
// columns, and each warp has a stretch of every piece.
//
//   producers  row pieces ─► ring ─► …         runs ahead, also while the kernel before still runs
//   warps                    Σ of a stretch ─► sums ─► finish(rows)
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_WEIGHT_STREAM_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_WEIGHT_STREAM_CUH_

#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/overlap.cuh"
#include "kernels/cuda/common/skinny_product.cuh"
#include "kernels/cuda/common/weight_stream.h"
#include "kernels/cuda/ptx/sm80.cuh"
#include "kernels/cuda/ptx/sm90.cuh"

namespace hopskip::cuda {

// Of the CTA's named barriers.
inline constexpr int kConsumersBarrier = 1;
inline constexpr int kProducersBarrier = 2;

struct StreamShared {
  uint64_t full[kStreamMaxStages];
  uint64_t empty[kStreamMaxStages];
  float sums[2][kSkinnyWarps][kStreamTokens][kStreamRows + 4];  // no bank conflicts
};

// What a CTA multiplies. A unit is a row of the product; with kGated, of gate and of up.
struct StreamShape {
  int32_t units;
  int32_t segments;  // a row is that many stretches of memory, one behind the other
  int32_t in;        // elements of one, a multiple of 8
  int32_t stages;    // of the ring

  __device__ int begin() const { return static_cast<int>(int64_t{units} * blockIdx.x / gridDim.x); }
  __device__ int end() const {
    return static_cast<int>(int64_t{units} * (blockIdx.x + 1) / gridDim.x);
  }
};

template <bool kGated>
struct WeightStream {
  static constexpr int kUnits = kGated ? kStreamRows / 2 : kStreamRows;  // of a tile

  StreamShape shape;
  StreamShared& s;
  uint8_t* ring;  // shared, [stages][kStreamRows][kStreamRowBytes]

  // What lies behind the ring: [tokens][segments · in], rows s_x_stride() elements apart.
  __device__ __nv_bfloat16* s_x() const {
    return reinterpret_cast<__nv_bfloat16*>(ring + shape.stages * kStreamStageBytes);
  }
  __device__ int s_x_stride() const { return shape.segments * shape.in + kSharedTokenPad; }

  // By the whole CTA.
  __device__ void begin() const {
    if (threadIdx.x == 0) {
      for (int i = 0; i < shape.stages; ++i) {
        ptx::mbarrier_init(&s.full[i], kStreamProducers);
        ptx::mbarrier_init(&s.empty[i], kSkinnyWarps);
      }
      ptx::fence_barrier_init();
    }
    __syncthreads();
  }

  // By the producers' warps. row_of(unit, matrix, segment): where the row's stretch begins; matrix:
  // 0, or 1 for up. They need not wait for the previous kernel: the consumers do.
  template <typename RowOf>
  __device__ void produce(const RowOf& row_of) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const uint64_t policy = ptx::evict_first_policy();
    const int end = shape.end();
    int stage = 0;
    uint32_t phase = 0;
    constexpr int kRows = kStreamRows / kStreamProducers;  // of a warp
    const int row = (static_cast<int>(threadIdx.x) - kSkinnyThreads) / 32 * kRows + lane;
    for (int first = shape.begin(); first < end; first += kUnits) {
      const int unit = first + row % kUnits;
      const bool mine = lane < kRows && unit < end;
      const int rows = __popc(__ballot_sync(0xffffffff, mine));
      for (int segment = 0; segment < shape.segments; ++segment) {
        const __nv_bfloat16* g_row = mine ? row_of(unit, row / kUnits, segment) : nullptr;
        for (int k = 0; k < shape.in; k += kStreamPiece) {
          const int bytes = 2 * min(kStreamPiece, shape.in - k);
          ptx::mbarrier_wait(&s.empty[stage], phase ^ 1);
          if (lane == 0) {
            ptx::mbarrier_arrive_expect(&s.full[stage], rows * bytes);
          }
          __syncwarp();
          if (mine) {
            ptx::bulk_load(ring + (stage * kStreamRows + row) * kStreamRowBytes, g_row + k, bytes,
                           &s.full[stage], policy);
          }
          advance(stage, phase);
        }
      }
    }
  }

  // By the warps that multiply, when the tokens are in shared memory.
  // weight(segment, token) is what a segment's product counts; finish(first, count, sum): units
  // [first, first + count) are done, sum(token, tile row) gives their products.
  template <typename Weight, typename Finish>
  __device__ void consume(int tokens, const Weight& weight, const Finish& finish) const {
    const int warp = static_cast<int>(threadIdx.x / 32);
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int g = lane / 4;
    const int t = lane % 4;
    const __nv_bfloat16* s_token = s_x() + min(g, tokens - 1) * s_x_stride();
    const int end = shape.end();
    int stage = 0;
    uint32_t phase = 0;
    int buffer = 0;
    for (int first = shape.begin(); first < end; first += kUnits) {
      float r_sum[4] = {};
      for (int segment = 0; segment < shape.segments; ++segment) {
        float r_c[4] = {};
        for (int k = 0; k < shape.in; k += kStreamPiece) {
          ptx::mbarrier_wait(&s.full[stage], phase);
          const uint8_t* s_rows = ring + (stage * kStreamRows + g) * kStreamRowBytes;
          HOPSKIP_UNROLL
          for (int i = 0; i < kStreamPiece / (32 * kSkinnyWarps); ++i) {
            const int in_piece = warp * (kStreamPiece / kSkinnyWarps) + 32 * i + 8 * t;
            uint4 low{}, high{}, b{};
            if (k + in_piece < shape.in) {
              low = *reinterpret_cast<const uint4*>(s_rows + 2 * in_piece);
              high = *reinterpret_cast<const uint4*>(s_rows + 8 * kStreamRowBytes + 2 * in_piece);
              b = *reinterpret_cast<const uint4*>(s_token + segment * shape.in + k + in_piece);
            }
            // As in SkinnyProduct: any order of the inner dimension will do, if it is both's.
            const uint32_t a0[4] = {low.x, high.x, low.y, high.y};
            const uint32_t a1[4] = {low.z, high.z, low.w, high.w};
            ptx::sm80::mma<__nv_bfloat16>(r_c, a0, b.x, b.y);
            ptx::sm80::mma<__nv_bfloat16>(r_c, a1, b.z, b.w);
          }
          __syncwarp();
          if (lane == 0) {
            ptx::mbarrier_arrive(&s.empty[stage]);
          }
          advance(stage, phase);
        }
        HOPSKIP_UNROLL
        for (int i = 0; i < 4; ++i) {
          r_sum[i] += weight(segment, min(2 * t + i % 2, tokens - 1)) * r_c[i];
        }
      }
      auto& s_sums = s.sums[buffer];
      HOPSKIP_UNROLL
      for (int i = 0; i < 4; ++i) {
        s_sums[warp][2 * t + i % 2][g + 8 * (i / 2)] = r_sum[i];
      }
      // The other buffer is written before the next time, this one after it.
      sync_consumers();
      finish(first, min(kUnits, end - first), [&](int token, int row) {
        float sum = 0.0f;
        HOPSKIP_UNROLL
        for (int w = 0; w < kSkinnyWarps; ++w) {
          sum += s_sums[w][token][row];
        }
        return sum;
      });
      buffer ^= 1;
    }
  }

  static __device__ void sync_consumers() {
    ptx::named_barrier_sync(kConsumersBarrier, kSkinnyThreads);
  }

 private:
  __device__ void advance(int& stage, uint32_t& phase) const {
    if (++stage == shape.stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

// Copies rows of `length` elements, a multiple of 8, to shared memory; by the consumers.
__device__ inline void stage_rows(const void* x, int64_t stride, int tokens, int length,
                                  __nv_bfloat16* s_x, int s_stride) {
  for (int token = 0; token < tokens; ++token) {
    const auto* g = static_cast<const __nv_bfloat16*>(x) + token * stride;
    for (int k = 8 * static_cast<int>(threadIdx.x); k < length; k += 8 * kSkinnyThreads) {
      *reinterpret_cast<uint4*>(s_x + token * s_stride + k) =
          *reinterpret_cast<const uint4*>(g + k);
    }
  }
}

// The weight of a product whose rows are one stretch each.
struct WholeRows {
  __device__ float operator()(int, int) const { return 1.0f; }
};

inline constexpr int kStreamThreads = kSkinnyThreads + 32 * kStreamProducers;

// kernel(args, shape): `tokens` rows of segments · in elements each lie behind the ring. ctas: 0
// stands for one on each multiprocessor.
template <typename Args>
void launch_stream(std::string_view name, void (*kernel)(Args, StreamShape), const Args& args,
                   int tokens, int units, int segments, int in, int ctas, CudaStream stream) {
  const int64_t token_bytes = stream_token_bytes(tokens, int64_t{segments} * in);
  const StreamShape shape{units, segments, in, stream_stages(token_bytes)};
  const int64_t bytes = int64_t{shape.stages} * kStreamStageBytes + token_bytes;
  // Of the kernel, not of the launch: always the most that any launch takes.
  check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(kStreamSharedBytes)),
               name);
  if (ctas == 0) {
    int device = 0;
    check_launch(cudaGetDevice(&device), name);
    check_launch(cudaDeviceGetAttribute(&ctas, cudaDevAttrMultiProcessorCount, device), name);
  }
  launch_overlapped(name, kernel, dim3(std::min(units, ctas)), kStreamThreads, bytes, stream, args,
                    shape);
}

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_WEIGHT_STREAM_CUH_
