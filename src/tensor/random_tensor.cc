#include "tensor/random_tensor.h"

#include "tensor/view.h"

namespace hopskip {

void write_values(const RandomTensor& tensor, int64_t begin, std::span<bf16> out) {
  int64_t row = begin / tensor.cols;
  int64_t col = begin % tensor.cols;
  for (bf16& value : out) {
    value = bf16(value_at(tensor, row, col));
    if (++col == tensor.cols) {
      col = 0;
      ++row;
    }
  }
}

std::vector<bf16> random_values(const TensorView& view) {
  std::vector<bf16> values(view.random ? view.elements() : 0);
  if (view.random) {
    write_values(*view.random, 0, values);
  }
  return values;
}

}  // namespace hopskip
