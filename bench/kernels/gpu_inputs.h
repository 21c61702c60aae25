// Inputs of the GPU benchmark as functions of an element's place: a kernel writes them and the host
// computes any of them again for its reference, without keeping or copying what is gigabytes.
#ifndef HOPSKIP_BENCH_KERNELS_GPU_INPUTS_H_
#define HOPSKIP_BENCH_KERNELS_GPU_INPUTS_H_

#include <cstdint>

#include "attention/skip_rule.h"
#include "hopskip/attention.h"

namespace hopskip::bench {

// Which stretches of keys are cold, and what makes them so: dimension 0 is `bias` in q, −bias in
// cold keys and 0 in the others.
struct GpuInputs {
  int num_heads;  // of the tensor at hand
  int head_dim;
  int64_t kv_len;
  int stretch;
  float cold_share;
  float bias;
};

enum class GpuTensor : uint8_t { kQ, kK, kV };

// splitmix64's output function, by Sebastiano Vigna: a permutation that looks random.
HOPSKIP_HD inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Nearly normal, of variance 1: the sum of eight random bytes. Integers and one product, so that
// host and device agree to the last bit.
HOPSKIP_HD inline float normal_at(uint64_t index) {
  uint64_t bits = mix(index);
  int sum = 0;
  for (int i = 0; i < 8; ++i, bits >>= 8) {
    sum += static_cast<int>(bits & 0xff);
  }
  constexpr float kScale = 0.0047846f;  // 1 / sqrt(8 · (256² − 1) / 12)
  return static_cast<float>(sum - 8 * 255 / 2) * kScale;
}

// Whether the stretch that holds `key` of this head and sequence is cold; first and last never are.
HOPSKIP_HD inline bool is_cold(const GpuInputs& in, int64_t sequence, int head, int64_t key) {
  const int64_t count = (in.kv_len + in.stretch - 1) / in.stretch;
  const int64_t place = key / in.stretch;
  if (place == 0 || place == count - 1) {
    return false;
  }
  const uint64_t index = (sequence * in.num_heads + head) * count + place;
  const uint64_t random = mix(index + (uint64_t{7} << 60)) >> 40;
  return static_cast<float>(random) < in.cold_share * 16777216.0f;  // of 2^24
}

// Element `d` of one head of one token; `token` counts over all sequences.
HOPSKIP_HD inline float element_at(const GpuInputs& in, GpuTensor tensor, int64_t token, int head,
                                   int d) {
  if (d == 0 && tensor == GpuTensor::kQ) {
    return in.bias;
  }
  if (d == 0 && tensor == GpuTensor::kK) {
    return is_cold(in, token / in.kv_len, head, token % in.kv_len) ? -in.bias : 0.0f;
  }
  const uint64_t index = (token * in.num_heads + head) * in.head_dim + d;
  return normal_at(index + (static_cast<uint64_t>(tensor) << 60));
}

// Writes a tensor [tokens][num_heads][head_dim] in BF16 to device memory. `pages`: device, for each
// page of `page_size` tokens of the tensor the number of the page that it holds; null: its own.
// Throws Device.
void write_gpu_tensor(const GpuInputs& in, GpuTensor tensor, int64_t tokens, void* out,
                      const int32_t* pages, int page_size, CudaStream stream);

}  // namespace hopskip::bench

#endif  // HOPSKIP_BENCH_KERNELS_GPU_INPUTS_H_
