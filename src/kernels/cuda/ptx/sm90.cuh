// Hopper's instructions, one wrapper each: mbarrier, TMA loads, wgmma's ordering, named barriers.
#ifndef HOPSKIP_KERNELS_CUDA_PTX_SM90_CUH_
#define HOPSKIP_KERNELS_CUDA_PTX_SM90_CUH_

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/common/macros.cuh"
#include "kernels/cuda/ptx/common.cuh"

namespace hopskip::ptx {

// mbarrier: phases complete after `arrivals` arrivals and all expected bytes.
__device__ inline void mbarrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals));
}
__device__ inline void mbarrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
__device__ inline void mbarrier_arrive_expect(uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
// Waits until the phase of this parity has completed. A fresh barrier counts as having completed
// the phase of parity 1.
__device__ inline void mbarrier_wait(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "WAIT:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@!p bra WAIT;\n}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
// Makes initialised barriers visible to the copy engine.
__device__ inline void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Orders this thread's ordinary shared-memory accesses before later ones of TMA and wgmma.
__device__ inline void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Starts the copy of a box of a 4-D tensor to shared memory; its bytes arrive at `barrier`.
__device__ inline void tma_load(void* destination, const CUtensorMap* map, uint64_t* barrier,
                                int c0, int c1, int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(destination)),
      "l"(map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}
// Starts the copy of adjacent memory, `bytes` of it, to shared memory; both on lines of 16 bytes.
__device__ inline void bulk_load(void* destination, const void* source, int bytes,
                                 uint64_t* barrier, uint64_t policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
      " [%0], [%1], %2, [%3], %4;" ::"r"(shared_address(destination)),
      "l"(__cvta_generic_to_global(source)), "r"(bytes), "r"(shared_address(barrier)), "l"(policy)
      : "memory");
}
// For what is read once: L2 gives it up first.
__device__ inline uint64_t evict_first_policy() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
__device__ inline void tma_prefetch_descriptor(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// wgmma: fence before the first of a batch whose registers were touched, commit the batch, wait
// until at most N committed batches are unfinished.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// The compiler takes accumulators for written when the wgmma is issued. Behind the wait, this keeps
// uses of them from moving before it.
template <int N>
__device__ inline void pin_accumulators(float (&d)[N]) {
  HOPSKIP_UNROLL
  for (int i = 0; i < N; ++i) {
    asm volatile("" : "+f"(d[i])::"memory");
  }
}

// Shared-memory matrix descriptor for tiles in 128-byte swizzle, 1024-byte aligned. K-major: rows
// of 128 bytes, `stride` = 1024 between groups of 8 rows, `leading` unused. N-major: `leading` =
// bytes between panels of 64 columns, `stride` = 1024 between groups of 8 rows of K. (Source: PTX
// ISA, "Matrix Descriptor Format" of wgmma.)
__device__ inline uint64_t matrix_descriptor(const void* tile, uint32_t leading, uint32_t stride) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | uint64_t{(shared_address(tile) & 0x3ffff) >> 4} |
         uint64_t{leading >> 4} << 16 | uint64_t{stride >> 4} << 32;
}
// Moves a descriptor's start; the sum must stay within shared memory.
__device__ inline uint64_t advance(uint64_t descriptor, uint32_t bytes) {
  return descriptor + (bytes >> 4);
}

// Named barriers of the CTA; `threads` counts those that arrive and those that wait.
__device__ inline void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// True for one lane of the warp, always the same (PTX ISA, elect.sync); all 32 are here. Cheaper
// than to know one's number.
__device__ inline bool elect_one() {
  uint32_t elected;
  asm volatile(
      "{\n.reg .pred p;\n"
      "elect.sync _|p, 0xffffffff;\n"
      "selp.b32 %0, 1, 0, p;\n}\n"
      : "=r"(elected));
  return elected != 0;
}

template <int kRegisters>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace hopskip::ptx

#endif  // HOPSKIP_KERNELS_CUDA_PTX_SM90_CUH_
