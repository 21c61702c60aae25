// The operations of backend.h that work row by row, spread over threads.
#ifndef HOPSKIP_KERNELS_CPU_ELEMENTWISE_H_
#define HOPSKIP_KERNELS_CPU_ELEMENTWISE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/simd/elementwise_kernels.h"

namespace hopskip {

class CpuElementwise {
 public:
  // The pool must outlive it.
  CpuElementwise(ThreadPool& pool, SimdLevel level)
      : pool_(pool), kernels_(elementwise_kernels(level)) {}

  void embed(const Step& step, const Weight& w, Matrix y);
  void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y);
  void rope(const Step& step, Matrix x, int head_dim, const Rope& rope);
  void silu_mul(Matrix gate, Matrix up, Matrix out);
  void gather_rows(const Step& step, Matrix x, Matrix y);
  void clear(Matrix x);

  // body(row) for every row of `values` values; in one thread where a wake-up would cost more.
  void each_row(int64_t rows, int64_t values, FunctionRef<void(int64_t row)> body);

 private:
  void update_angles(std::span<const int32_t> positions, const Rope& rope);

  ThreadPool& pool_;
  const ElementwiseKernels& kernels_;
  // cos and sin of the last positions, the same in every layer of a step: [positions][rot / 2].
  std::vector<int32_t> positions_;
  Rope rope_;
  std::vector<float> cos_, sin_;
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_ELEMENTWISE_H_
