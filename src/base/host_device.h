// Marks functions that host code and GPU kernels share.
#ifndef HOPSKIP_BASE_HOST_DEVICE_H_
#define HOPSKIP_BASE_HOST_DEVICE_H_

#if defined(__CUDACC__)
#define HOPSKIP_HD __host__ __device__
#else
#define HOPSKIP_HD
#endif

#endif  // HOPSKIP_BASE_HOST_DEVICE_H_
