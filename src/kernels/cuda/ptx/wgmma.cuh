// wgmma: D[64][N] (+)= A[64][16] · B[16][N], 16-bit operands, fp32 accumulators, issued by a
// warpgroup.
//
// D: thread (warp w, lane 4 g + t) holds d[4 j + 2 h + e] = D[16 w + g + 8 h][8 j + 2 t + e]. A in
// registers: a[h + 2 u] = A[16 w + g + 8 h][2 t + 8 u, 2 t + 8 u + 1]. (Source: PTX ISA, "Register
// Fragments for wgmma.mma_async.m64nNk16".)
#ifndef HOPSKIP_KERNELS_CUDA_PTX_WGMMA_CUH_
#define HOPSKIP_KERNELS_CUDA_PTX_WGMMA_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace hopskip::ptx {

// The R accumulators as asm operands with constraint C, and their places %0 … %(R − 1) in the text.
#define HOPSKIP_D8(C, i) \
  C(d[i]), C(d[i + 1]), C(d[i + 2]), C(d[i + 3]), C(d[i + 4]), C(d[i + 5]), C(d[i + 6]), C(d[i + 7])
#define HOPSKIP_D16(C, i) HOPSKIP_D8(C, i), HOPSKIP_D8(C, i + 8)
#define HOPSKIP_D32(C, i) HOPSKIP_D16(C, i), HOPSKIP_D16(C, i + 16)
#define HOPSKIP_D48(C, i) HOPSKIP_D32(C, i), HOPSKIP_D16(C, i + 32)
#define HOPSKIP_D64(C, i) HOPSKIP_D32(C, i), HOPSKIP_D32(C, i + 32)
#define HOPSKIP_D128(C, i) HOPSKIP_D64(C, i), HOPSKIP_D64(C, i + 64)
#define HOPSKIP_PLACES_32                                                  \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define HOPSKIP_PLACES_48                                                            \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define HOPSKIP_PLACES_64                                                            \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define HOPSKIP_PLACES_128                                                                       \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "             \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "             \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "             \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// A and B in shared memory, both K-major (rows of K). SCALE_D 0 overwrites D.
#define HOPSKIP_WGMMA_SS(N, R, TYPE, C, A, B, SCALE_D)                            \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " SCALE_D                        \
               ", 0;\n"                                                           \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE    \
               " {" HOPSKIP_PLACES_##R "}, %" #A ", %" #B ", p, 1, 1, 0, 0;\n}\n" \
               : HOPSKIP_D##R(C, 0)                                               \
               : "l"(a), "l"(b))

// A in registers, B in shared memory, N-major (rows of N); adds to D.
#define HOPSKIP_WGMMA_RS(N, R, TYPE, A0, A1, A2, A3, B)                                       \
  asm volatile(                                                                               \
      "{\n.reg .pred p;\nsetp.eq.b32 p, 0, 0;\n"                                              \
      "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" HOPSKIP_PLACES_##R \
      "}, {%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B ", p, 1, 1, 1;\n}\n"                \
      : HOPSKIP_D##R("+f", 0)                                                                 \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

// D = A · Bᵀ, or D += A · Bᵀ where kAccumulate.
template <typename T, int N, bool kAccumulate>
__device__ inline void wgmma_ss(float (&d)[N / 2], uint64_t a, uint64_t b) {
  constexpr bool kBF16 = std::is_same_v<T, __nv_bfloat16>;
  static_assert(kBF16 || std::is_same_v<T, __half>);
  if constexpr (N == 64) {
    if constexpr (kBF16 && kAccumulate) {
      HOPSKIP_WGMMA_SS(64, 32, "bf16", "+f", 32, 33, "1");
    } else if constexpr (kBF16) {
      HOPSKIP_WGMMA_SS(64, 32, "bf16", "=f", 32, 33, "0");
    } else if constexpr (kAccumulate) {
      HOPSKIP_WGMMA_SS(64, 32, "f16", "+f", 32, 33, "1");
    } else {
      HOPSKIP_WGMMA_SS(64, 32, "f16", "=f", 32, 33, "0");
    }
  } else if constexpr (N == 96) {
    if constexpr (kBF16 && kAccumulate) {
      HOPSKIP_WGMMA_SS(96, 48, "bf16", "+f", 48, 49, "1");
    } else if constexpr (kBF16) {
      HOPSKIP_WGMMA_SS(96, 48, "bf16", "=f", 48, 49, "0");
    } else if constexpr (kAccumulate) {
      HOPSKIP_WGMMA_SS(96, 48, "f16", "+f", 48, 49, "1");
    } else {
      HOPSKIP_WGMMA_SS(96, 48, "f16", "=f", 48, 49, "0");
    }
  } else if constexpr (N == 128) {
    if constexpr (kBF16 && kAccumulate) {
      HOPSKIP_WGMMA_SS(128, 64, "bf16", "+f", 64, 65, "1");
    } else if constexpr (kBF16) {
      HOPSKIP_WGMMA_SS(128, 64, "bf16", "=f", 64, 65, "0");
    } else if constexpr (kAccumulate) {
      HOPSKIP_WGMMA_SS(128, 64, "f16", "+f", 64, 65, "1");
    } else {
      HOPSKIP_WGMMA_SS(128, 64, "f16", "=f", 64, 65, "0");
    }
  } else if constexpr (N == 256) {
    static_assert(kBF16 && kAccumulate, "accumulates only");
    HOPSKIP_WGMMA_SS(256, 128, "bf16", "+f", 128, 129, "1");
  } else {
    static_assert(N == 64, "tiles of 64, 96, 128 or 256 columns");
  }
}

// D += A · B.
template <typename T, int N>
__device__ inline void wgmma_rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b) {
  constexpr bool kBF16 = std::is_same_v<T, __nv_bfloat16>;
  static_assert(kBF16 || std::is_same_v<T, __half>);
  if constexpr (N == 64) {
    if constexpr (kBF16) {
      HOPSKIP_WGMMA_RS(64, 32, "bf16", 32, 33, 34, 35, 36);
    } else {
      HOPSKIP_WGMMA_RS(64, 32, "f16", 32, 33, 34, 35, 36);
    }
  } else if constexpr (N == 128) {
    if constexpr (kBF16) {
      HOPSKIP_WGMMA_RS(128, 64, "bf16", 64, 65, 66, 67, 68);
    } else {
      HOPSKIP_WGMMA_RS(128, 64, "f16", 64, 65, 66, 67, 68);
    }
  } else if constexpr (N == 256) {
    if constexpr (kBF16) {
      HOPSKIP_WGMMA_RS(256, 128, "bf16", 128, 129, 130, 131, 132);
    } else {
      HOPSKIP_WGMMA_RS(256, 128, "f16", 128, 129, 130, 131, 132);
    }
  } else {
    static_assert(N == 64, "head_dim 64, 128 or 256");
  }
}

#undef HOPSKIP_WGMMA_SS
#undef HOPSKIP_WGMMA_RS
#undef HOPSKIP_D8
#undef HOPSKIP_D16
#undef HOPSKIP_D32
#undef HOPSKIP_D48
#undef HOPSKIP_D64
#undef HOPSKIP_D128
#undef HOPSKIP_PLACES_32
#undef HOPSKIP_PLACES_48
#undef HOPSKIP_PLACES_64
#undef HOPSKIP_PLACES_128

}  // namespace hopskip::ptx

#endif  // HOPSKIP_KERNELS_CUDA_PTX_WGMMA_CUH_
