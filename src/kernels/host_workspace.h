// Scratch matrices of one step in host memory.
#ifndef HOPSKIP_KERNELS_HOST_WORKSPACE_H_
#define HOPSKIP_KERNELS_HOST_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/huge_memory.h"

namespace hopskip {

// Hands out memory from chunks; reset() makes one chunk of them all, so that after a step or two of
// the largest size there is one chunk and no further malloc.
class HostWorkspace {
 public:
  // Uninitialised, 64-byte aligned, stride == cols. Throws OutOfMemory, InvalidArgument for
  // negative sizes.
  Matrix allocate(int64_t rows, int64_t cols);
  void reset();

  size_t capacity() const;

 private:
  struct Chunk {
    SharedBytes data;
    size_t bytes = 0;
  };
  std::vector<Chunk> chunks_;
  size_t used_ = 0;  // bytes of the last chunk
};

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_HOST_WORKSPACE_H_
