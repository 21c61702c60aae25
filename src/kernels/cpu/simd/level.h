// The instruction sets that CPU kernels are compiled for; which one runs is decided at run time.
#ifndef HOPSKIP_KERNELS_CPU_SIMD_LEVEL_H_
#define HOPSKIP_KERNELS_CPU_SIMD_LEVEL_H_

#include <cstdint>
#include <string_view>

namespace hopskip {

// From the least to the most capable: a machine that has one has those before it.
enum class SimdLevel : uint8_t {
  kScalar,
  kAvx2,        // AVX2, FMA and F16C
  kAvx512Bf16,  // AVX-512 F, BW, DQ, VL and BF16
};

// The best level of this machine.
SimdLevel detect_simd_level();

// "scalar", "avx2", "avx512_bf16".
std::string_view simd_level_name(SimdLevel level);

// The level of that name; "" is the best. Throws InvalidArgument for an unknown name, Unsupported
// where the machine lacks it.
SimdLevel parse_simd_level(std::string_view name);

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_SIMD_LEVEL_H_
