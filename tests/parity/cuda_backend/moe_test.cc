// The mixture of experts of the CUDA backend against the reference, with few rows an expert and
// with many: each has kernels of its own.
#include <limits>

#include "parity/cuda_backend/backend_support.h"

namespace hopskip::test {
namespace {

class CudaMoeTest : public CudaBackendTest {
 protected:
  struct Sizes {
    int64_t tokens, experts, top_k, hidden, inner;
  };

  // Experts' matrices, exact in BF16, one behind the other.
  struct Stack {
    Stack(int64_t experts, int64_t rows, int64_t cols, std::mt19937_64& random)
        : values(bf16_values(experts * rows * cols, random)) {
      for (float& value : values) {
        value = round_bf16(value / std::sqrt(static_cast<float>(cols)));
      }
      for (int64_t e = 0; e < experts; ++e) {
        views.push_back({&values[e * rows * cols], DType::kF32, 2, {rows, cols}});
      }
    }
    std::vector<float> values;
    std::vector<TensorView> views;
  };

  static Matrix on_host(Backend& backend, std::span<const float> values, int64_t cols) {
    const Matrix x = backend.allocate(std::ssize(values) / cols, cols, MatrixKind::kExact);
    std::ranges::copy(values, x.values());
    return x;
  }

  void expect_reference(const Sizes& n, bool normalize) {
    SCOPED_TRACE(fmt::format("{} tokens, {} of {} experts, {} x {}", n.tokens, n.top_k, n.experts,
                             n.inner, n.hidden));
    backend_->reset_workspace();
    const auto reference = make_backend("reference");
    const Stack gate(n.experts, n.inner, n.hidden, random_);
    const Stack up(n.experts, n.inner, n.hidden, random_);
    const Stack down(n.experts, n.hidden, n.inner, random_);
    const std::vector<float> x = bf16_values(n.tokens * n.hidden, random_);
    const std::vector<float> logits = normal_values(n.tokens * n.experts, random_);
    const std::vector<float> before = normal_values(n.tokens * n.hidden, random_);

    const auto run = [&](Backend& backend, Matrix input, Matrix router, Matrix residual) {
      const WeightPtr weights[] = {backend.load_experts(gate.views), backend.load_experts(up.views),
                                   backend.load_experts(down.views)};
      backend.moe(input, router, {weights[0].get(), weights[1].get(), weights[2].get()},
                  {n.top_k, normalize}, residual);
      require_cuda(cudaDeviceSynchronize());
    };
    const Matrix want = on_host(*reference, before, n.hidden);
    run(*reference, on_host(*reference, x, n.hidden), on_host(*reference, logits, n.experts), want);
    const Matrix got = upload(*backend_, before, n.hidden, MatrixKind::kExact);
    run(*backend_, upload(*backend_, x, n.hidden, MatrixKind::kActivation),
        upload(*backend_, logits, n.experts, MatrixKind::kExact), got);

    // Four values on the way are rounded to BF16, each by 2^-9 at most.
    const std::span<const float> expected(want.values(), before.size());
    const double added = rms_error(expected, before);
    EXPECT_GT(added, 0.01);
    EXPECT_LE(rms_error(download(got), expected), 4.0 / 512.0 * added);
  }
};

TEST_F(CudaMoeTest, MatchesReference) {
  for (bool normalize : {false, true}) {
    expect_reference({1, 8, 2, 64, 32}, normalize);
    expect_reference({5, 16, 4, 128, 96}, normalize);
    expect_reference({37, 7, 7, 72, 40}, normalize);
    expect_reference({300, 8, 2, 128, 64}, normalize);  // blocks of 128 rows, with padding
    expect_reference({1024, 4, 3, 256, 136}, normalize);
  }
}

// Norm and router included, at the numbers of tokens between which the kernels change.
TEST_F(CudaMoeTest, NormAndRouterMatchReference) {
  constexpr int64_t kHidden = 256, kInner = 96, kExperts = 16, kTopK = 4;
  for (const int64_t tokens : {1, 4, 5, 8, 9, 33}) {
    SCOPED_TRACE(fmt::format("{} tokens", tokens));
    backend_->reset_workspace();
    const auto reference = make_backend("reference");
    const Stack gate(kExperts, kInner, kHidden, random_);
    const Stack up(kExperts, kInner, kHidden, random_);
    const Stack down(kExperts, kHidden, kInner, random_);
    const std::vector<float> router = bf16_values(kExperts * kHidden, random_);
    const std::vector<float> norm = bf16_values(kHidden, random_);
    const std::vector<float> before = normal_values(tokens * kHidden, random_);
    const std::vector<float> scratch(tokens * kHidden, std::numeric_limits<float>::quiet_NaN());
    const auto run = [&](Backend& backend, Matrix x, Matrix y) {
      const WeightPtr norm_weight = backend.load({norm.data(), DType::kF32, 1, {kHidden}});
      const WeightPtr router_weight =
          backend.load({router.data(), DType::kF32, 2, {kExperts, kHidden}});
      const WeightPtr weights[] = {backend.load_experts(gate.views), backend.load_experts(up.views),
                                   backend.load_experts(down.views)};
      const Matrix logits = backend.allocate(tokens, kExperts, MatrixKind::kExact);
      backend.norm_moe({x, norm_weight.get(), 1e-6f, y}, *router_weight, logits,
                       {weights[0].get(), weights[1].get(), weights[2].get()}, {kTopK, true});
      require_cuda(cudaDeviceSynchronize());
    };
    const Matrix want = on_host(*reference, before, kHidden);
    run(*reference, want, on_host(*reference, scratch, kHidden));
    const Matrix got = upload(*backend_, before, kHidden, MatrixKind::kExact);
    run(*backend_, got, upload(*backend_, scratch, kHidden, MatrixKind::kActivation));
    const std::span<const float> expected(want.values(), before.size());
    const double added = rms_error(expected, before);
    EXPECT_GT(added, 0.01);
    // As above; a choice that rounding turns over costs one of the smaller weights.
    EXPECT_LE(rms_error(download(got), expected), 0.1 * added);
  }
}

}  // namespace
}  // namespace hopskip::test
