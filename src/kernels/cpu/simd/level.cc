#include "kernels/cpu/simd/level.h"

#include <array>

#include "base/check.h"

namespace hopskip {
namespace {

constexpr std::array<std::string_view, 3> kNames{"scalar", "avx2", "avx512_bf16"};

}  // namespace

SimdLevel detect_simd_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bf16");
  return avx2 && avx512 ? SimdLevel::kAvx512Bf16 : avx2 ? SimdLevel::kAvx2 : SimdLevel::kScalar;
#else
  return SimdLevel::kScalar;
#endif
}

std::string_view simd_level_name(SimdLevel level) { return kNames[static_cast<size_t>(level)]; }

SimdLevel parse_simd_level(std::string_view name) {
  const SimdLevel best = detect_simd_level();
  if (name.empty()) {
    return best;
  }
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) {
      check(i <= static_cast<size_t>(best), ErrorCode::kUnsupported,
            "this machine has no {}; its best level is {}", name, simd_level_name(best));
      return static_cast<SimdLevel>(i);
    }
  }
  fail(ErrorCode::kInvalidArgument, "unknown instruction set '{}'; use scalar, avx2 or avx512_bf16",
       name);
}

}  // namespace hopskip
