// A typed, row-major, contiguous window on memory that somebody else owns.
#ifndef HOPSKIP_TENSOR_VIEW_H_
#define HOPSKIP_TENSOR_VIEW_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/random_tensor.h"

namespace hopskip {

// Shape is outermost first, as in PyTorch and safetensors (GGUF stores it the other way round).
struct TensorView {
  static constexpr int kMaxRank = 4;

  const void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  // In place of `data`, which is then null: BF16 values that whoever loads the tensor computes.
  std::optional<RandomTensor> random = std::nullopt;
  // A window on a read-only mapping of a file: release_mapped() may give its memory back.
  bool mapped = false;

  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) {
      n *= shape[i];
    }
    return n;
  }
  int64_t bytes() const { return row_bytes(dtype, elements()); }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

// All values of a random view, in their order; nothing of any other.
std::vector<bf16> random_values(const TensorView& view);

}  // namespace hopskip

#endif  // HOPSKIP_TENSOR_VIEW_H_
