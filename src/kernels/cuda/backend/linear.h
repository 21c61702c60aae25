// linear() on a GPU: few tokens by a kernel of ours that reads the weights of all terms in one
// launch, many by one cuBLASLt product for each term.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_LINEAR_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_LINEAR_H_

#include <compare>
#include <map>
#include <memory>
#include <span>

#include "kernels/backend.h"
#include "kernels/cuda/backend/cublas_lt.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/smxx/gemv/launch.h"

namespace hopskip::cuda {

class CudaLinear {
 public:
  // On the current device. Throws Unsupported where there is no cuBLASLt, OutOfMemory, Device.
  // is_hopper: compute capability 9.0, which has a kernel of its own for few tokens.
  explicit CudaLinear(bool is_hopper);
  ~CudaLinear();
  CudaLinear(const CudaLinear&) = delete;
  CudaLinear& operator=(const CudaLinear&) = delete;

  // y (+)= x · wᵀ (+ bias): x BF16, y BF16 or F32, sums in F32. Shapes have been checked. Throws
  // Unsupported for a shape that cuBLASLt has nothing for, Device.
  void operator()(Matrix x, std::span<const LinearTerm> terms, cudaStream_t stream);

  // Whether our kernel takes x, and whether it takes the norm in the same launch.
  static bool takes(Matrix x);
  static bool takes_norm(const NormedInput& in);
  // Backend::norm_linear() of an input that takes_norm().
  void normed(const NormedInput& in, std::span<const LinearTerm> terms, cudaStream_t stream) const;
  // Backend::norm_gated_linear(); of an input that does not takes_norm(), but whose y the kernel
  // takes, in.y holds the norm already.
  void gated(const NormedInput& in, const LinearTerm& gate, const LinearTerm& up,
             cudaStream_t stream) const;

 private:
  // What decides the choice of a kernel.
  struct Key {
    int64_t tokens, in, out;
    int64_t x_stride, y_stride;
    int x_alignment, y_alignment;  // of the addresses, bytes
    bool y_is_f32, accumulates, has_bias;
    auto operator<=>(const Key&) const = default;
  };
  struct Product;  // descriptors and the chosen algorithm

  Product& product(const Key& key, const void* bias);
  void multiply(Matrix x, const LinearTerm& term, cudaStream_t stream);
  void multiply(const GemvArgs& args, cudaStream_t stream) const;

  bool is_hopper_;
  const CublasLt& library_;
  cublasLtHandle_t handle_ = nullptr;
  DeviceMemory workspace_;
  std::map<Key, std::unique_ptr<Product>> products_;
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_LINEAR_H_
