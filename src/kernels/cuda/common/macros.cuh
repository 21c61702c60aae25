// Pragmas behind macros: clang-format would move them to column 0.
#ifndef HOPSKIP_KERNELS_CUDA_COMMON_MACROS_CUH_
#define HOPSKIP_KERNELS_CUDA_COMMON_MACROS_CUH_

#define HOPSKIP_PRAGMA(text) _Pragma(#text)
#define HOPSKIP_UNROLL HOPSKIP_PRAGMA(unroll)
#define HOPSKIP_UNROLL_BY(n) HOPSKIP_PRAGMA(unroll n)

#endif  // HOPSKIP_KERNELS_CUDA_COMMON_MACROS_CUH_
