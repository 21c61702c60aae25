#include "tensor/dtype.h"

#include <array>

#include "base/check.h"

namespace hopskip {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
  int64_t elements;
  int64_t bytes;
};

// Block layouts: the GGUF specification (ggml-common.h); see tensor/quant_blocks.h.
constexpr std::array<Row, 11> kRows{{
    {DType::kF32, "f32", 1, 4},
    {DType::kF16, "f16", 1, 2},
    {DType::kBF16, "bf16", 1, 2},
    {DType::kI32, "i32", 1, 4},
    {DType::kQ8_0, "q8_0", 32, 34},
    {DType::kQ4_0, "q4_0", 32, 18},
    {DType::kQ4_1, "q4_1", 32, 20},
    {DType::kQ4_K, "q4_k", 256, 144},
    {DType::kQ5_K, "q5_k", 256, 176},
    {DType::kQ6_K, "q6_k", 256, 210},
    {DType::kF8E4M3, "fp8", 1, 1},
}};

const Row& row(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  check(index < kRows.size() && kRows[index].dtype == dtype, ErrorCode::kInternal,
        "dtype {} has no row", index);
  return kRows[index];
}

}  // namespace

std::string_view dtype_name(DType dtype) { return row(dtype).name; }
int64_t block_elements(DType dtype) { return row(dtype).elements; }
int64_t block_bytes(DType dtype) { return row(dtype).bytes; }

}  // namespace hopskip
