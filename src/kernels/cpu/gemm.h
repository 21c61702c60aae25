// y = x · w or y += x · w through oneDNN, on the calling thread.
#ifndef HOPSKIP_KERNELS_CPU_GEMM_H_
#define HOPSKIP_KERNELS_CPU_GEMM_H_

#include <cstdint>
#include <memory>
#include <span>

#include "tensor/dtype.h"

namespace hopskip {

struct GemmShape {
  int64_t rows = 0;  // of x and y
  int64_t cols = 0;  // of y
  int64_t inner = 0;
  int64_t x_stride = 0;
  int64_t w_stride = 0;       // between rows of w [inner][cols], or of wᵀ [cols][inner]
  bool w_transposed = false;  // w is given as [cols][inner]
  int64_t y_stride = 0;
  bool accumulate = false;
  DType dtype = DType::kF32;  // of x and w: kF32 or kBF16; y is f32

  bool operator==(const GemmShape&) const = default;
};

// oneDNN is built with OpenMP; here it always runs on one thread, so the project's pool stays the
// only one.
class CpuGemm {
 public:
  explicit CpuGemm(int threads);
  ~CpuGemm();
  CpuGemm(const CpuGemm&) = delete;
  CpuGemm& operator=(const CpuGemm&) = delete;

  // Builds what run() needs for these shapes. Throws Unsupported where oneDNN has no code. Not
  // concurrent with run().
  void prepare(std::span<const GemmShape> shapes);
  // A shape of the last prepare(); thread < threads; calls with different threads may overlap.
  void run(const GemmShape& shape, const void* x, const void* w, float* y, int thread);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_GEMM_H_
