// The obvious computation in BF16: every weight, and every activation where an operation leaves it,
// is rounded to BF16; sums are those of a host backend. What it loses is the yardstick of a GPU.
#ifndef HOPSKIP_TESTS_SUPPORT_ROUNDING_BACKEND_H_
#define HOPSKIP_TESTS_SUPPORT_ROUNDING_BACKEND_H_

#include <algorithm>
#include <list>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/float16.h"
#include "support/forwarding_backend.h"
#include "tensor/quantize.h"

namespace hopskip::test {

inline float round_bf16(float value) { return static_cast<float>(bf16(value)); }

// The inner backend computes on the host, in F32 or better ("reference", "cpu" with simd "avx2").
class RoundingBackend : public ForwardingBackend {
 public:
  explicit RoundingBackend(std::unique_ptr<Backend> inner) : ForwardingBackend(std::move(inner)) {}

  Matrix allocate(int64_t rows, int64_t cols, MatrixKind kind) override {
    const Matrix x = ForwardingBackend::allocate(rows, cols, kind);
    if (kind == MatrixKind::kExact) {
      exact_.insert(x.data);
    } else {
      exact_.erase(x.data);
    }
    return x;
  }
  WeightPtr load(const TensorView& view) override {
    return ForwardingBackend::load(rounded(view, view.rank >= 2));
  }
  WeightPtr load_experts(std::span<const TensorView> experts) override {
    std::vector<TensorView> views;
    for (const TensorView& view : experts) {
      views.push_back(rounded(view, true));
    }
    return ForwardingBackend::load_experts(views);
  }
  void rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) override {
    ForwardingBackend::rms_norm(x, weight, eps, y);
    round(y);
  }
  void linear(Matrix x, std::span<const LinearTerm> terms) override {
    ForwardingBackend::linear(x, terms);
    for (const LinearTerm& term : terms) {
      if (!exact_.contains(term.y.data) && !term.accumulate) {
        round(term.y);
      }
    }
  }
  void rope(const Step& step, Matrix x, int head_dim, const Rope& rope) override {
    ForwardingBackend::rope(step, x, head_dim, rope);
    round(x);
  }
  void silu_mul(Matrix gate, Matrix up, Matrix out) override {
    ForwardingBackend::silu_mul(gate, up, out);
    round(out);
  }
  void attention(Step& step, const AttentionShape& shape, int layer, Matrix q, Matrix out,
                 const AttentionDebug& debug) override {
    ForwardingBackend::attention(step, shape, layer, q, out, debug);
    round(out);
  }

 private:
  static void round(Matrix x) {
    for (int64_t r = 0; r < x.rows; ++r) {
      std::transform(x.row(r), x.row(r) + x.cols, x.row(r), round_bf16);
    }
  }
  TensorView rounded(const TensorView& view, bool rounds) {
    std::vector<float>& values = weights_.emplace_back(view.elements());
    if (view.random) {
      std::ranges::transform(random_values(view), values.begin(),
                             [](bf16 value) { return static_cast<float>(value); });
    } else {
      dequantize(view.dtype, view.data, values.data(), view.elements());
    }
    if (rounds) {
      std::ranges::transform(values, values.begin(), round_bf16);
    }
    TensorView copy = view;
    copy.dtype = DType::kF32;
    copy.data = values.data();
    copy.random.reset();
    return copy;
  }

  std::set<const void*> exact_;
  std::list<std::vector<float>> weights_;
};

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_SUPPORT_ROUNDING_BACKEND_H_
