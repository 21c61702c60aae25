#include "kernels/cpu/linear.h"

#include <algorithm>
#include <vector>

#include "base/float16.h"

namespace hopskip {
namespace {

// Columns of y that one task decodes and multiplies: at 1,536 inner columns 384 KB of bf16, a part
// of the second-level cache. 64 read x too often (13 % slower), 192 leave threads without work.
constexpr int64_t kGemmCols = 128;
// Rows of x that a task multiplies by its decoded columns: enough to make decoding cheap (some
// percent), few enough to balance the threads.
constexpr int64_t kGemmRows = 1024;
// Rows of x in one multiplication; long rows come in fewer, to stay in the second-level cache.
constexpr int64_t kGemmSlice = 256;
constexpr int64_t kLongRow = 1024;
// Panels of a task: the first costs a thread about 0.1 µs to fetch, a panel lasts 0.2 µs or more.
constexpr int64_t kMinTaskPanels = 4;
constexpr int64_t kTasksPerThread = 2;
// Values that a task quantises: some 8 µs of work.
constexpr int64_t kQuantizeValues = 32768;

int64_t slice_rows(int64_t inner) { return inner <= kLongRow ? kGemmSlice : kGemmSlice / 2; }

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// y (+)= sums + bias for `count` outputs of one token.
void finish(const LinearTerm& term, int64_t token, int64_t first, int64_t count,
            const float* sums) {
  float* y = term.y.row(token) + first;
  const float* bias = term.bias == nullptr ? nullptr : cpu_weight(*term.bias).vector() + first;
  for (int64_t i = 0; i < count; ++i) {
    const float value = sums[i] + (bias == nullptr ? 0.0f : bias[i]);
    y[i] = term.accumulate ? y[i] + value : value;
  }
}

void add_bias(const LinearTerm& term, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  if (term.bias == nullptr) {
    return;
  }
  const float* bias = cpu_weight(*term.bias).vector() + col;
  for (int64_t t = row; t < row + rows; ++t) {
    for (int64_t i = 0; i < cols; ++i) {
      term.y.row(t)[col + i] += bias[i];
    }
  }
}

// Pieces of all terms, numbered through: term of piece p, and p's number within the term.
struct Pieces {
  std::vector<int64_t> begin{0};

  void add(int64_t pieces) { begin.push_back(begin.back() + pieces); }
  int64_t total() const { return begin.back(); }
  size_t term(int64_t piece) const {
    return std::upper_bound(begin.begin(), begin.end(), piece) - begin.begin() - 1;
  }
};

}  // namespace

CpuLinear::CpuLinear(ThreadPool& pool, SimdLevel level)
    : pool_(pool), kernels_(linear_kernels(level)), gemm_(pool.size()), weights_(pool.size()) {}

void CpuLinear::operator()(Matrix x, std::span<const LinearTerm> terms) {
  check_linear(x, terms);
  if (x.rows >= kGemmTokens) {
    multiply(x, terms);
  } else if (x.rows > 0) {
    dot(x, terms);
  }
}

QuantizedRows CpuLinear::quantize(Matrix x) {
  const int64_t blocks = x.cols / kActivationBlock;
  q_.reserve(x.rows * x.cols * sizeof(int16_t));
  scale_.reserve(x.rows * blocks * sizeof(float));
  sum_.reserve(x.rows * blocks * 2 * sizeof(int32_t));
  const int64_t chunk = std::max<int64_t>(1, kQuantizeValues / x.cols);
  pool_.parallel_for(ceil_div(x.rows, chunk), [&](int64_t task, int) {
    for (int64_t t = task * chunk; t < std::min(x.rows, (task + 1) * chunk); ++t) {
      kernels_.quantize(x.row(t), x.cols, q_.as<int16_t>() + t * x.cols,
                        scale_.as<float>() + t * blocks, sum_.as<int32_t>() + t * blocks * 2);
    }
  });
  return {q_.as<int16_t>(), scale_.as<float>(), sum_.as<int32_t>(), x.cols};
}

void CpuLinear::dot(Matrix x, std::span<const LinearTerm> terms,
                    std::span<const int64_t> first_rows) {
  QuantizedRows quantized;
  Pieces panels;
  for (const LinearTerm& term : terms) {
    if (quantized.q == nullptr && cpu_weight(*term.w).format() != nullptr) {
      quantized = quantize(x);
    }
    panels.add(ceil_div(term.w->rows(), kPanelRows));
  }
  const int64_t chunk = std::max(kMinTaskPanels, panels.total() / (kTasksPerThread * pool_.size()));
  pool_.parallel_for(ceil_div(panels.total(), chunk), [&](int64_t task, int) {
    const int64_t end = std::min(panels.total(), (task + 1) * chunk);
    for (int64_t panel = task * chunk; panel < end; ++panel) {
      const size_t term = panels.term(panel);
      dot_panel(x, quantized, terms[term], first_rows.empty() ? 0 : first_rows[term],
                panel - panels.begin[term]);
    }
  });
}

void CpuLinear::dot_panel(Matrix x, const QuantizedRows& quantized, const LinearTerm& term,
                          int64_t first_row, int64_t panel) {
  const CpuWeight& w = cpu_weight(*term.w);
  const int64_t first = panel * kPanelRows;
  const int64_t rows = std::min<int64_t>(kPanelRows, w.rows() - first);
  const PackedFormat* format = w.format();
  const LinearKernels::PanelDot panel_dot =
      format == nullptr ? nullptr : kernels_.panel_dot(*format);
  for (int64_t t = 0; t < term.y.rows; t += kMaxDotTokens) {
    const int tokens = static_cast<int>(std::min<int64_t>(kMaxDotTokens, term.y.rows - t));
    alignas(64) float sums[kMaxDotTokens][kPanelRows];
    if (format != nullptr) {
      panel_dot(*format, w.panel(panel), quantized, first_row + t, tokens, sums[0]);
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        float dots[kMaxDotTokens];
        kernels_.plain_dot(w.plain_dtype(), w.plain_row(first + r), x.row(first_row + t), x.stride,
                           x.cols, tokens, dots);
        for (int i = 0; i < tokens; ++i) {
          sums[i][r] = dots[i];
        }
      }
    }
    for (int i = 0; i < tokens; ++i) {
      finish(term, t + i, first, rows, sums[i]);
    }
  }
}

void CpuLinear::multiply(Matrix x, std::span<const LinearTerm> terms) {
  const DType dtype = kernels_.gemm_dtype;
  const int64_t slice = slice_rows(x.cols);
  const std::byte* x_data = static_cast<const std::byte*>(x.data);
  int64_t x_stride = x.stride;
  if (dtype != DType::kF32) {
    x_stride = x.cols;
    x_.reserve(x.rows * row_bytes(dtype, x.cols));
    x_data = x_.as<std::byte>();
    pool_.parallel_for(ceil_div(x.rows, slice), [&](int64_t task, int) {
      for (int64_t t = task * slice; t < std::min(x.rows, (task + 1) * slice); ++t) {
        kernels_.convert(DType::kF32, x.row(t), x.cols,
                         x_.as<std::byte>() + t * row_bytes(dtype, x.cols));
      }
    });
  }

  const auto shape = [&](const LinearTerm& term, int64_t rows, int64_t cols) {
    const bool packed = cpu_weight(*term.w).format() != nullptr;
    return GemmShape{.rows = rows,
                     .cols = cols,
                     .inner = x.cols,
                     .x_stride = x_stride,
                     .w_stride = packed ? kGemmCols : x.cols,
                     .w_transposed = !packed,
                     .y_stride = term.y.stride,
                     .accumulate = term.accumulate,
                     .dtype = dtype};
  };
  Pieces blocks;
  std::vector<GemmShape> shapes;
  for (const LinearTerm& term : terms) {
    blocks.add(ceil_div(term.w->rows(), kGemmCols));
    for (int64_t rows : {std::min(x.rows, slice), x.rows % slice}) {
      for (int64_t cols : {std::min(term.w->rows(), kGemmCols), term.w->rows() % kGemmCols}) {
        if (rows > 0 && cols > 0) {
          shapes.push_back(shape(term, rows, cols));
        }
      }
    }
  }
  gemm_.prepare(shapes);
  for (Buffer& buffer : weights_) {
    buffer.reserve(kGemmCols * row_bytes(dtype, x.cols));
  }

  const int64_t row_pieces = ceil_div(x.rows, kGemmRows);
  pool_.parallel_for(blocks.total() * row_pieces, [&](int64_t task, int thread) {
    const int64_t block = task / row_pieces;
    const LinearTerm& term = terms[blocks.term(block)];
    const int64_t col = (block - blocks.begin[blocks.term(block)]) * kGemmCols;
    const int64_t cols = std::min(kGemmCols, term.w->rows() - col);
    const void* w = decode(cpu_weight(*term.w), col, cols, thread);
    const int64_t row_end = std::min(x.rows, (task % row_pieces + 1) * kGemmRows);
    for (int64_t row = task % row_pieces * kGemmRows; row < row_end; row += slice) {
      const int64_t rows = std::min(slice, row_end - row);
      gemm_.run(shape(term, rows, cols), x_data + row * row_bytes(dtype, x_stride), w,
                term.y.row(row) + col, thread);
      add_bias(term, row, rows, col, cols);
    }
  });
}

const void* CpuLinear::decode(const CpuWeight& w, int64_t first, int64_t rows, int thread) {
  const DType dtype = kernels_.gemm_dtype;
  std::byte* decoded = weights_[thread].as<std::byte>();
  if (w.format() != nullptr) {
    for (int64_t row = 0; row < rows; row += kPanelRows) {
      kernels_.unpack_panel(*w.format(), w.panel((first + row) / kPanelRows), w.cols(),
                            decoded + row_bytes(dtype, row), kGemmCols);
    }
    return decoded;
  }
  if (w.plain_dtype() == dtype) {
    return w.plain_row(first);
  }
  kernels_.convert(w.plain_dtype(), w.plain_row(first), rows * w.cols(), decoded);
  return decoded;
}

}  // namespace hopskip
