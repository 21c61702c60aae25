// linear() on the CPU: dot products for a few tokens, matrix multiplication for many.
#ifndef HOPSKIP_KERNELS_CPU_LINEAR_H_
#define HOPSKIP_KERNELS_CPU_LINEAR_H_

#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd/linear_kernels.h"
#include "kernels/cpu/weight.h"
#include "tensor/buffer.h"

namespace hopskip {

class CpuLinear {
 public:
  // From here on a matrix multiplication, which decodes the weights first, beats dot products.
  static constexpr int64_t kGemmTokens = 16;

  // The pool must outlive it.
  CpuLinear(ThreadPool& pool, SimdLevel level);
  void operator()(Matrix x, std::span<const LinearTerm> terms);
  // Products with a few rows of x each: y_i = rows [first_rows[i], first_rows[i] + y_i.rows) of x,
  // times w_iᵀ. One loop over threads for all of them.
  void grouped(Matrix x, std::span<const LinearTerm> terms, std::span<const int64_t> first_rows) {
    dot(x, terms, first_rows);
  }

 private:
  // Without first_rows, every term takes all rows of x.
  void dot(Matrix x, std::span<const LinearTerm> terms, std::span<const int64_t> first_rows = {});
  void multiply(Matrix x, std::span<const LinearTerm> terms);
  QuantizedRows quantize(Matrix x);
  // Outputs [16 · panel, 16 · panel + 16) of a term for its tokens, which start at row `first_row`.
  void dot_panel(Matrix x, const QuantizedRows& quantized, const LinearTerm& term,
                 int64_t first_row, int64_t panel);
  // Weight rows [first, first + rows) in gemm_dtype: [cols][kGemmCols] of a packed weight, else
  // [rows][cols].
  const void* decode(const CpuWeight& w, int64_t first, int64_t rows, int thread);

  ThreadPool& pool_;
  const LinearKernels& kernels_;
  CpuGemm gemm_;
  Buffer q_, scale_, sum_;       // QuantizedRows
  Buffer x_;                     // x in gemm_dtype
  std::vector<Buffer> weights_;  // decoded columns, one for each thread
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_LINEAR_H_
