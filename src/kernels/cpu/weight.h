// A weight as the CPU backend keeps it.
#ifndef HOPSKIP_KERNELS_CPU_WEIGHT_H_
#define HOPSKIP_KERNELS_CPU_WEIGHT_H_

#include "kernels/backend.h"
#include "kernels/contract.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/huge_memory.h"

namespace hopskip {

// Vectors are floats; quantised matrices are packed copies; other matrices stay where they are.
class CpuWeight final : public Weight {
 public:
  CpuWeight(ThreadPool& pool, HugeArena& arena, const TensorView& view);
  // What that takes of the arena.
  static int64_t bytes_taken(const TensorView& view);

  // Null unless the weight is packed.
  const PackedFormat* format() const { return format_; }
  const std::byte* panel(int64_t index) const {
    return copy_.get() + index * format_->panel_bytes(cols());
  }
  // Rows of a weight that is not packed, of plain_dtype().
  DType plain_dtype() const { return plain_dtype_; }
  const std::byte* plain_row(int64_t row) const {
    return plain_ + row * row_bytes(plain_dtype_, cols());
  }
  // A vector's values [rows]. Throws InvalidArgument for a matrix.
  const float* vector() const;
  // Row `row` as floats [cols].
  void read_row(int64_t row, float* dst) const;

 private:
  // A view of values in memory; of random ones, which have just been computed, with their owner.
  struct StoredView {
    TensorView view;
    SharedBytes values;
  };
  static StoredView stored(ThreadPool& pool, HugeArena& arena, const TensorView& view);
  CpuWeight(ThreadPool& pool, HugeArena& arena, const StoredView& stored, WeightShape shape);

  const PackedFormat* format_ = nullptr;
  SharedBytes copy_;    // of a vector or a packed matrix
  SharedBytes values_;  // of a random tensor
  DType plain_dtype_ = DType::kF32;
  const std::byte* plain_ = nullptr;
};

inline const CpuWeight& cpu_weight(const Weight& weight) {
  return own_cast<const CpuWeight>(weight, "weight");
}

}  // namespace hopskip

#endif  // HOPSKIP_KERNELS_CPU_WEIGHT_H_
