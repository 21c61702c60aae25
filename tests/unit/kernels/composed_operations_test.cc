// Operations that are others in a row, on a backend that overrides some of them.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "support/forwarding_backend.h"

namespace hopskip {
namespace {

// Fuses norm and product, so that nothing of use is left in the scratch for the norm.
class FusedNorm : public ForwardingBackend {
 public:
  FusedNorm() : ForwardingBackend(make_backend("reference")) {}
  void norm_linear(const NormedInput& in, std::span<const LinearTerm> terms) override {
    ForwardingBackend::norm_linear(in, terms);
    std::fill_n(in.y.values(), in.y.rows * in.y.cols, std::numeric_limits<float>::quiet_NaN());
  }
};

TEST(ComposedOperations, ExpertsDoNotReadWhatAFusedNormLeaves) {
  constexpr int64_t kTokens = 5, kHidden = 16, kInner = 8, kExperts = 4;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto values = [&](int64_t count) {
    std::vector<float> result(count);
    std::ranges::generate(result, [&] { return normal(random); });
    return result;
  };
  const std::vector<float> x = values(kTokens * kHidden);
  const std::vector<float> norm = values(kHidden);
  const std::vector<float> router = values(kExperts * kHidden);
  const std::vector<float> gate = values(kExperts * kInner * kHidden);
  const std::vector<float> up = values(kExperts * kInner * kHidden);
  const std::vector<float> down = values(kExperts * kHidden * kInner);
  const auto run = [&](Backend& backend) {
    const auto experts = [&](const std::vector<float>& all, int64_t rows, int64_t cols) {
      std::vector<TensorView> views;
      for (int64_t e = 0; e < kExperts; ++e) {
        views.push_back({&all[e * rows * cols], DType::kF32, 2, {rows, cols}});
      }
      return backend.load_experts(views);
    };
    const WeightPtr norm_weight = backend.load({norm.data(), DType::kF32, 1, {kHidden}});
    const WeightPtr router_weight =
        backend.load({router.data(), DType::kF32, 2, {kExperts, kHidden}});
    const WeightPtr weights[] = {experts(gate, kInner, kHidden), experts(up, kInner, kHidden),
                                 experts(down, kHidden, kInner)};
    const Matrix residual = backend.allocate(kTokens, kHidden, MatrixKind::kExact);
    std::ranges::copy(x, residual.values());
    const Matrix y = backend.allocate(kTokens, kHidden, MatrixKind::kActivation);
    const Matrix logits = backend.allocate(kTokens, kExperts, MatrixKind::kExact);
    backend.norm_moe({residual, norm_weight.get(), 1e-6f, y}, *router_weight, logits,
                     {weights[0].get(), weights[1].get(), weights[2].get()}, {2, true});
    return std::vector<float>(residual.values(), residual.values() + x.size());
  };
  const auto plain = make_backend("reference");
  FusedNorm fused;
  EXPECT_EQ(run(fused), run(*plain));
  EXPECT_NE(run(*plain), x);
}

}  // namespace
}  // namespace hopskip
