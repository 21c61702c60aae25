// Ampere's instructions, one wrapper each: cp.async, ldmatrix, mma.sync.
//
// Fragments of m16n8k16, lane 4 g + t, from the PTX ISA ("Matrix Fragments for mma.m16n8k16"):
//   A  a[0]: row g, columns 2t, 2t+1 · a[1]: row g+8 · a[2], a[3]: the same, 8 columns further
//   B  b[0]: rows 2t, 2t+1 of column g · b[1]: 8 rows further
//   C  c[0], c[1]: row g, columns 2t, 2t+1 · c[2], c[3]: row g+8
#ifndef HOPSKIP_KERNELS_CUDA_PTX_SM80_CUH_
#define HOPSKIP_KERNELS_CUDA_PTX_SM80_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/ptx/common.cuh"

namespace hopskip::ptx::sm80 {

using ptx::exp2_approx;
using ptx::shared_address;

// Starts the copy of 16 bytes to shared memory; of the source only `bytes` (0 … 16) are read, the
// rest is zero.
__device__ inline void cp_async(uint32_t destination, const void* source, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source),
               "r"(bytes)
               : "memory");
}
// Makes a group of this thread's copies so far; waits until at most N groups are unfinished.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8. Of
// each matrix, lane 4 g + t gets columns 2t, 2t+1 of row g.
__device__ inline void ldmatrix(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
// The same; of each matrix, lane 4 g + t gets rows 2t, 2t+1 of column g.
__device__ inline void ldmatrix_transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

__device__ inline uint4 load_shared_16(uint32_t address) {
  uint4 r;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
               : "r"(address)
               : "memory");
  return r;
}
__device__ inline uint2 load_shared_8(uint32_t address) {
  uint2 r;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(r.x), "=r"(r.y) : "r"(address) : "memory");
  return r;
}

// c += a · b: 16 x 8 += (16 x 16) · (16 x 8).
template <typename T>
__device__ inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7},"
        " {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    static_assert(std::is_same_v<T, __half>);
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7},"
        " {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// The AND of `bits` over the warp.
__device__ inline uint32_t reduce_and(uint32_t bits) { return __reduce_and_sync(0xffffffff, bits); }

}  // namespace hopskip::ptx::sm80

#endif  // HOPSKIP_KERNELS_CUDA_PTX_SM80_CUH_
