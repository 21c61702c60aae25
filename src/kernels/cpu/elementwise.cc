#include "kernels/cpu/elementwise.h"

#include <algorithm>
#include <cmath>

#include "kernels/contract.h"
#include "kernels/cpu/weight.h"

namespace hopskip {
namespace {

// Values worth a task: some 4 µs of work, well above the microsecond that a loop over threads
// costs.
constexpr int64_t kTaskValues = 16384;

}  // namespace

void CpuElementwise::each_row(int64_t rows, int64_t values, FunctionRef<void(int64_t)> body) {
  const int64_t chunk = std::max<int64_t>(1, kTaskValues / std::max<int64_t>(1, values));
  pool_.parallel_for((rows + chunk - 1) / chunk, [&](int64_t task, int) {
    for (int64_t row = task * chunk; row < std::min(rows, (task + 1) * chunk); ++row) {
      body(row);
    }
  });
}

void CpuElementwise::embed(const Step& step, const Weight& w, Matrix y) {
  check_embed(step, w, y);
  const CpuWeight& table = cpu_weight(w);
  const std::span<const int32_t> ids = step.inputs().tokens;
  each_row(y.rows, y.cols, [&](int64_t t) { table.read_row(ids[t], y.row(t)); });
}

void CpuElementwise::rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) {
  check_rms_norm(x, weight, y);
  const float* scale = cpu_weight(weight).vector();
  each_row(x.rows, x.cols,
           [&](int64_t t) { kernels_.rms_norm(x.row(t), scale, eps, x.cols, y.row(t)); });
}

void CpuElementwise::rope(const Step& step, Matrix x, int head_dim, const Rope& rope) {
  check_rope(step, x, head_dim, rope);
  update_angles(step.inputs().positions, rope);
  const int64_t half = std::ssize(rope.inv_freq);
  const auto rotate = rope.interleaved ? kernels_.rope_interleaved : kernels_.rope;
  each_row(x.rows, x.cols, [&](int64_t t) {
    rotate(x.row(t), x.cols / head_dim, head_dim, half, &cos_[t * half], &sin_[t * half]);
  });
}

void CpuElementwise::update_angles(std::span<const int32_t> positions, const Rope& rope) {
  if (std::ranges::equal(positions, positions_) && rope.inv_freq == rope_.inv_freq &&
      rope.magnitude == rope_.magnitude) {
    return;
  }
  positions_.assign(positions.begin(), positions.end());
  rope_ = rope;
  const int64_t half = std::ssize(rope.inv_freq);
  cos_.resize(positions.size() * half);
  sin_.resize(positions.size() * half);
  // A cosine costs as much as 16 or so of the other operations' values.
  each_row(std::ssize(positions), 16 * half, [&](int64_t t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = double(positions[t]) * double{rope.inv_freq[i]};
      cos_[t * half + i] = static_cast<float>(std::cos(angle) * double{rope.magnitude});
      sin_[t * half + i] = static_cast<float>(std::sin(angle) * double{rope.magnitude});
    }
  });
}

void CpuElementwise::silu_mul(Matrix gate, Matrix up, Matrix out) {
  check_silu_mul(gate, up, out);
  each_row(gate.rows, gate.cols,
           [&](int64_t t) { kernels_.silu_mul(gate.row(t), up.row(t), gate.cols, out.row(t)); });
}

void CpuElementwise::gather_rows(const Step& step, Matrix x, Matrix y) {
  check_gather_rows(step, x, y);
  const std::span<const int64_t> rows = step.inputs().rows;
  each_row(y.rows, y.cols, [&](int64_t i) { std::copy_n(x.row(rows[i]), x.cols, y.row(i)); });
}

void CpuElementwise::clear(Matrix x) {
  each_row(x.rows, x.cols, [&](int64_t i) { std::fill_n(x.row(i), x.cols, 0.0f); });
}

}  // namespace hopskip
