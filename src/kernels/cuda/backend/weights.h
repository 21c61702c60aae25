// Weights in GPU memory, and how they come there.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_WEIGHTS_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_WEIGHTS_H_

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/contract.h"
#include "kernels/cuda/backend/counted_bytes.h"
#include "kernels/cuda/backend/handles.h"

namespace hopskip::cuda {

// Matrices [rows][cols] in BF16. Vectors both in F32, for norms and exact outputs, and in BF16.
class CudaWeight final : public Weight {
 public:
  CudaWeight(WeightShape shape, DeviceMemory bf16, DeviceMemory f32, CountedBytes bytes)
      : Weight(shape.rows, shape.cols, DType::kBF16),
        bf16_(std::move(bf16)),
        f32_(std::move(f32)),
        bytes_(std::move(bytes)) {}

  bool is_copy() const override { return true; }

  const void* bf16() const { return bf16_.get(); }
  // Throws InvalidArgument for a matrix.
  const float* vector() const;

 private:
  DeviceMemory bf16_;
  DeviceMemory f32_;  // null: a matrix
  CountedBytes bytes_;
};

inline const CudaWeight& cuda_weight(const Weight& weight) {
  return own_cast<const CudaWeight>(weight, "weight");
}

// GPU memory that load() takes for the tensors: BF16, of vectors F32 as well.
int64_t bytes_on_device(std::span<const TensorView> tensors);

// Copies tensors to the current device through two pinned buffers, so that reading (from the file,
// converting to BF16) overlaps with copying and host memory stays bounded. Random tensors are
// computed on the device.
class WeightLoader {
 public:
  // Copies are ordered on `stream`. The pool must outlive it.
  WeightLoader(ThreadPool& pool, cudaStream_t stream) : pool_(pool), stream_(stream) {}

  // Has read all of the view when it returns. Throws OutOfMemory, Device, and as weight_shape().
  WeightPtr load(const TensorView& view);
  // The same for matrices of one shape, one behind the other.
  WeightPtr load_experts(std::span<const TensorView> experts);
  // Gives the buffers back; the next load() takes new ones.
  void free_buffers();
  int64_t bytes_in_use() const { return *in_use_; }  // by weights that have been loaded

 private:
  struct Staging {
    PinnedMemory memory;
    Event copied;  // what it held has left it
  };

  // Elements [begin, begin + count) of the view as `dtype` (kBF16 or kF32) to `dst`.
  void convert(const TensorView& view, int64_t begin, int64_t count, DType dtype, std::byte* dst);
  DeviceMemory copy(std::span<const TensorView> views, DType dtype);  // of one size
  void copy(const TensorView& view, DType dtype, std::byte* target);  // in device memory

  ThreadPool& pool_;
  cudaStream_t stream_;
  ByteCount in_use_ = std::make_shared<int64_t>(0);
  std::array<Staging, 2> staging_;
  size_t next_ = 0;
  std::vector<std::vector<float>> decoded_;  // of each thread
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_WEIGHTS_H_
