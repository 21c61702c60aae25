// Grouped GEMM on Hopper: each block of 128 rows of A meets the weights of its expert.
//
// A persistent CTA computes tiles of 128 rows x 256 weight rows: a producer warp copies 64 columns
// of both at a time to a ring of stages with TMA, two consumer warpgroups own 64 rows each. While a
// stage's product runs, the one before is waited for and its stage handed back:
//
//   producer   load 0 │ load 1 │ load 2 │ load 3 │ (0 empty) load 4 │ …
//   consumers           wgmma 0 │ wgmma 1, release 0 │ wgmma 2, release 1 │ …   │ write the tile
//
// The producer loads the next tile's stages while the consumers write. Tiles of one block follow
// each other, so that CTAs that run at the same time read few experts, whose weights stay in L2.
// Gated, half of the weight rows are rows of gate, half the same ones of up: a thread holds both
// factors of each result.
#ifndef HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_KERNEL_CUH_
#define HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_KERNEL_CUH_

#include <cuda.h>
#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/common/pack.cuh"
#include "kernels/cuda/common/ring.cuh"
#include "kernels/cuda/common/silu.cuh"
#include "kernels/cuda/ptx/sm90.cuh"
#include "kernels/cuda/ptx/wgmma.cuh"
#include "kernels/cuda/sm90/grouped_gemm/config.h"

namespace hopskip::cuda::sm90 {

struct GemmMaps {
  CUtensorMap a;     // boxes of 128 rows x 64 columns
  CUtensorMap b;     // boxes of 128 weight rows of one expert x 64 columns
  CUtensorMap b_up;  // gated only
};

template <bool kGated>
struct GemmKernel {
  using T = __nv_bfloat16;

  struct Shared {
    alignas(1024) T a[kGemmStages][kGroupedGemmRows][kGemmDepth];
    alignas(1024) T b[kGemmStages][kGemmCols][kGemmDepth];
    uint64_t full[kGemmStages];
    uint64_t empty[kGemmStages];
  };
  static constexpr int kStageBytes = static_cast<int>(sizeof(Shared::a[0]) + sizeof(Shared::b[0]));

  // ---- Schedule ----------------------------------------------------------------------------

  struct Tile {
    int expert;  // −1: no more work
    int row;     // of A and C
    int col;     // of C
  };

  static constexpr int kTileCols = kGated ? kGemmHalf : kGemmCols;  // of C

  // The n-th tile of this CTA.
  static __device__ Tile find_tile(const GroupedGemmArgs& args, int n) {
    const int in_block = (args.out + kTileCols - 1) / kTileCols;
    const int number = static_cast<int>(blockIdx.x) + n * static_cast<int>(gridDim.x);
    const int block = number / in_block;
    if (block >= args.max_rows / kGroupedGemmRows) {
      return {-1, 0, 0};
    }
    return {args.block_experts[block], block * kGroupedGemmRows, number % in_block * kTileCols};
  }

  static __device__ int steps_of(const GroupedGemmArgs& args) {
    return (args.in + kGemmDepth - 1) / kGemmDepth;
  }

  // ---- Producer: one thread ----------------------------------------------------------------

  static __device__ void produce(const GroupedGemmArgs& args, const GemmMaps& maps, Shared& s) {
    const int steps = steps_of(args);
    Ring<kGemmStages> ring;
    Tile tile = find_tile(args, 0);
    for (int n = 1; tile.expert >= 0; ++n) {
      const Tile next = find_tile(args, n);
      const CUtensorMap* second_map = kGated ? &maps.b_up : &maps.b;
      const int second = tile.col + (kGated ? 0 : kGemmHalf);
      for (int step = 0; step < steps; ++step) {
        const int k = step * kGemmDepth;
        uint64_t* full = &s.full[ring.stage];
        ptx::mbarrier_wait(&s.empty[ring.stage], ring.phase ^ 1);
        ptx::mbarrier_arrive_expect(full, kStageBytes);
        ptx::tma_load(s.a[ring.stage], &maps.a, full, k, tile.row, 0, 0);
        ptx::tma_load(s.b[ring.stage], &maps.b, full, k, tile.col, tile.expert, 0);
        ptx::tma_load(s.b[ring.stage][kGemmHalf], second_map, full, k, second, tile.expert, 0);
        ring.advance();
      }
      tile = next;
    }
  }

  // ---- Consumers: a warpgroup for each 64 rows ---------------------------------------------

  // Thread (warp w, lane 4 g + t) holds rows 16 w + g + 8 h (h = 0, 1) and of each 8 columns
  // numbers 2 t and 2 t + 1; see wgmma.cuh for the places in r_c.
  struct Consumer {
    const GroupedGemmArgs& args;
    Shared& s;
    const int lane;
    const int row0;         // this thread's row h = 0, in the tile
    const uint64_t desc_a;  // of stage 0
    const uint64_t desc_b;
    Ring<kGemmStages> ring;
    float r_c[kGemmCols / 2];

    __device__ Consumer(const GroupedGemmArgs& args_in, Shared& shared, int group)
        : args(args_in),
          s(shared),
          lane(threadIdx.x % 32),
          row0(64 * group + threadIdx.x / 32 % 4 * 16 + lane / 4),
          desc_a(ptx::matrix_descriptor(&shared.a[0][64 * group], 0, 1024)),
          desc_b(ptx::matrix_descriptor(shared.b, 0, 1024)) {}

    __device__ void release(int stage) const {
      if (lane == 0) {
        ptx::mbarrier_arrive(&s.empty[stage]);
      }
    }

    // Starts r_c += A · Bᵀ of the ring's stage.
    __device__ void start_product() {
      ptx::mbarrier_wait(&s.full[ring.stage], ring.phase);
      const uint64_t a = ptx::advance(desc_a, ring.stage * static_cast<int>(sizeof(s.a[0])));
      const uint64_t b = ptx::advance(desc_b, ring.stage * static_cast<int>(sizeof(s.b[0])));
      ptx::wgmma_fence();
      HOPSKIP_UNROLL
      for (int step = 0; step < kGemmDepth / 16; ++step) {
        ptx::wgmma_ss<T, kGemmCols, true>(r_c, ptx::advance(a, 32 * step),
                                          ptx::advance(b, 32 * step));
      }
      ptx::wgmma_commit();
    }

    __device__ void multiply() {
      HOPSKIP_UNROLL
      for (float& c : r_c) {
        c = 0.0f;
      }
      const int steps = steps_of(args);
      start_product();
      int before = ring.stage;
      ring.advance();
      for (int step = 1; step < steps; ++step) {
        start_product();
        ptx::wgmma_wait<1>();
        release(before);
        before = ring.stage;
        ring.advance();
      }
      ptx::wgmma_wait<0>();
      ptx::pin_accumulators(r_c);
      release(before);
    }

    // Results 8 j + 2 t and the next of row h.
    __device__ uint32_t result(int j, int h) const {
      const float* c = &r_c[4 * j + 2 * h];
      if constexpr (kGated) {
        const float* up = c + kGemmCols / 4;
        return pack2<T>(silu(c[0]) * up[0], silu(c[1]) * up[1]);
      } else {
        return pack2<T>(c[0], c[1]);
      }
    }

    // The first `rows` rows exist.
    __device__ void write(const Tile& tile, int rows) const {
      const int cols = args.out;
      HOPSKIP_UNROLL
      for (int h = 0; h < 2; ++h) {
        const bool exists = row0 + 8 * h < rows;
        T* out = static_cast<T*>(args.c) + int64_t{tile.row + row0 + 8 * h} * cols;
        HOPSKIP_UNROLL
        for (int j = 0; j < kTileCols / 8; j += 4) {
          uint32_t words[4];
          HOPSKIP_UNROLL
          for (int i = 0; i < 4; ++i) {
            words[i] = result(j + i, h);
          }
          const uint4 line = transpose_quad(words, lane);
          const int col = tile.col + 8 * (j + lane % 4);
          if (exists && col < cols) {
            *reinterpret_cast<uint4*>(out + col) = line;
          }
        }
      }
    }

    // What the end of a tile and the next one need is fetched ahead of the products.
    __device__ void run() {
      Tile tile = find_tile(args, 0);
      for (int n = 1; tile.expert >= 0; ++n) {
        const Tile next = find_tile(args, n);
        const int rows = args.offsets[tile.expert] + args.counts[tile.expert] - tile.row;
        multiply();
        write(tile, rows);
        tile = next;
      }
    }
  };

  // ---- Kernel ------------------------------------------------------------------------------

  static __device__ void run(const GroupedGemmArgs& args, const GemmMaps& maps, char* memory) {
    Shared& s = *reinterpret_cast<Shared*>(memory);
    // Read from lane 0, the compiler knows it to be the same for the whole warp.
    const int group = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);
    if (threadIdx.x == 0) {
      ptx::tma_prefetch_descriptor(&maps.a);
      ptx::tma_prefetch_descriptor(&maps.b);
      if constexpr (kGated) {
        ptx::tma_prefetch_descriptor(&maps.b_up);
      }
      for (int stage = 0; stage < kGemmStages; ++stage) {
        ptx::mbarrier_init(&s.full[stage], 1);
        ptx::mbarrier_init(&s.empty[stage], 4 * kGemmConsumers);
      }
      ptx::fence_barrier_init();
    }
    __syncthreads();
    if (group == 0) {
      ptx::give_registers<kGemmProducerRegisters>();
      if (threadIdx.x == 0) {
        produce(args, maps, s);
      }
    } else {
      ptx::take_registers<kGemmConsumerRegisters>();
      Consumer consumer(args, s, group - 1);
      consumer.run();
    }
  }
};

template <bool kGated>
__global__ void __launch_bounds__(kGemmThreads, 1)
    grouped_gemm(const __grid_constant__ GroupedGemmArgs args,
                 const __grid_constant__ GemmMaps maps) {
  extern __shared__ __align__(1024) char memory[];
  GemmKernel<kGated>::run(args, maps, memory);
}

}  // namespace hopskip::cuda::sm90

#endif  // HOPSKIP_KERNELS_CUDA_SM90_GROUPED_GEMM_KERNEL_CUH_
