// Scratch matrices of one step in GPU memory.
#ifndef HOPSKIP_KERNELS_CUDA_BACKEND_WORKSPACE_H_
#define HOPSKIP_KERNELS_CUDA_BACKEND_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"

namespace hopskip::cuda {

// Hands out memory from chunks, on the current device. reset() makes one chunk of them all; while
// that suffices, equal allocations after a reset() have equal addresses.
class Workspace {
 public:
  // Uninitialised, aligned to 256 bytes, stride == cols. Throws OutOfMemory, InvalidArgument for
  // negative sizes.
  Matrix allocate(int64_t rows, int64_t cols, DType dtype);
  // True where addresses have changed: what was captured with the old ones is void. Waits for the
  // device in that case.
  bool reset();

  size_t capacity() const;

 private:
  struct Chunk {
    DeviceMemory data;
    size_t bytes = 0;
  };
  void add_chunk(size_t bytes);

  std::vector<Chunk> chunks_;
  size_t used_ = 0;  // bytes of the last chunk
};

}  // namespace hopskip::cuda

#endif  // HOPSKIP_KERNELS_CUDA_BACKEND_WORKSPACE_H_
