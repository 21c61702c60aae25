// Products of few tokens with the weights of several terms, against sums in fp64.
#include "kernels/cuda/smxx/gemv/launch.h"

#include <gtest/gtest.h>

#include "kernels/cuda/sm90/gemv/launch.h"
#include "parity/cuda_ops/moe_support.h"

namespace hopskip::cuda {
namespace {

using test::bf16_bound;
using test::DeviceArray;
using test::DeviceRows;
using test::expert_row;
using test::f32_bound;
using test::Judge;
using test::Layout;
using test::normal_rows;
using test::Product;
using test::Rows;
using test::silu_product;

// Both kernels of these products, the second only where it runs.
class CudaOpsDenseGemv : public test::OpsTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    OpsTest::SetUp();
    if (!IsSkipped() && GetParam() && !is_hopper()) {
      GTEST_SKIP() << "not a Hopper GPU";
    }
  }
  static bool takes(int tokens, int in) { return !GetParam() || gemv_stream_takes(tokens, in); }
  static void launch(const GemvArgs& args) {
    GetParam() ? launch_gemv_stream(args, nullptr) : launch_gemv(args, nullptr);
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, CudaOpsDenseGemv, testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "stream" : "any_gpu");
});

struct Term {
  int out;
  bool f32, accumulate, bias;
};
struct Case {
  int in;
  std::vector<Term> terms;
};
const std::vector<Case> kCases{
    {2048, {{4096, false, false, false}, {512, false, false, false}, {512, false, false, false}}},
    {4096, {{2048, true, true, false}}},
    {2048, {{128, true, false, false}}},
    {576, {{576, false, false, true}, {192, false, false, true}, {192, false, false, true}}},
    {1536, {{576, true, true, true}}},
    {8, {{1, true, false, false}, {17, false, true, true}}},
    {264, {{33, false, false, true}, {5000, true, true, true}}},
    {14336, {{40, true, true, false}}},
    {7168, {{2200, true, true, false}}},  // three stages of the weight stream at 8 tokens
};

// One term's results and what was there before them.
template <typename T>
std::string judge_term(const Term& term, int in, const Rows<bf16>& x, const Rows<bf16>& w,
                       const std::vector<float>& bias, const Rows<T>& before,
                       const Rows<T>& after) {
  Judge judge;
  for (int64_t token = 0; token < x.layout.rows; ++token) {
    const std::vector<Product> want =
        expert_row(&x.values[x.layout.place(token, 0)], &w.values[0], nullptr, in, term.out);
    for (int row = 0; row < term.out; ++row) {
      const double value = want[row].value + (term.bias ? bias[row] : 0.0) +
                           (term.accumulate ? double{before.get(token, row)} : 0.0);
      const double slack = want[row].slack + 3 * f32_bound(value) + f32_bound(want[row].value);
      judge.compare(after.get(token, row), value, slack + (term.f32 ? 0.0 : bf16_bound(value)),
                    token, row);
    }
  }
  return judge.problem();
}

TEST_P(CudaOpsDenseGemv, EveryTerm) {
  for (const Case& c : kCases) {
    for (const int tokens : {0, 1, 2, 7, 8, 9, 16, 17, 32}) {
      if (!takes(tokens, c.in)) {
        continue;
      }
      const int gap = tokens % 2 == 0 ? 8 : 0;
      const Rows<bf16> x = normal_rows<bf16>({tokens, c.in, gap, 0}, random_);
      const DeviceRows<bf16> device_x(x);
      GemvArgs args{.x = device_x.data(),
                    .x_stride = x.layout.stride(),
                    .tokens = tokens,
                    .in = c.in,
                    .num_terms = static_cast<int32_t>(c.terms.size()),
                    .gated = false,
                    .terms = {}};
      std::vector<Rows<bf16>> weights;
      std::vector<std::vector<float>> biases;
      std::vector<Rows<float>> floats;
      std::vector<Rows<bf16>> halves;
      std::vector<std::unique_ptr<DeviceRows<bf16>>> device_weights, device_halves;
      std::vector<std::unique_ptr<DeviceRows<float>>> device_floats;
      std::vector<std::unique_ptr<DeviceArray<float>>> device_biases;
      for (size_t i = 0; i < c.terms.size(); ++i) {
        const Term& term = c.terms[i];
        const float scale = 1.0f / std::sqrt(static_cast<float>(c.in));
        const Layout y{tokens, term.out, gap, 0};
        weights.push_back(normal_rows<bf16>({term.out, c.in, 0, 0}, random_, scale));
        biases.push_back(normal_rows<float>({1, term.out, 0, 0}, random_).values);
        floats.push_back(normal_rows<float>(y, random_));
        halves.push_back(normal_rows<bf16>(y, random_));
        device_weights.push_back(std::make_unique<DeviceRows<bf16>>(weights.back()));
        device_biases.push_back(std::make_unique<DeviceArray<float>>(biases.back()));
        device_floats.push_back(std::make_unique<DeviceRows<float>>(floats.back()));
        device_halves.push_back(std::make_unique<DeviceRows<bf16>>(halves.back()));
        args.terms[i] = {.w = device_weights.back()->data(),
                         .bias = term.bias ? device_biases.back()->data() : nullptr,
                         .y = term.f32 ? static_cast<void*>(device_floats.back()->data())
                                       : device_halves.back()->data(),
                         .y_stride = y.stride(),
                         .out = term.out,
                         .y_is_f32 = term.f32,
                         .accumulate = term.accumulate};
      }
      launch(args);
      for (size_t i = 0; i < c.terms.size(); ++i) {
        const Term& term = c.terms[i];
        const std::string problem = term.f32 ? judge_term(term, c.in, x, weights[i], biases[i],
                                                          floats[i], device_floats[i]->download())
                                             : judge_term(term, c.in, x, weights[i], biases[i],
                                                          halves[i], device_halves[i]->download());
        EXPECT_EQ(problem, "") << c.in << " in, " << tokens << " tokens, term " << i;
      }
    }
  }
}

// The norm of the input in the same launch.
TEST_P(CudaOpsDenseGemv, Normed) {
  constexpr float kEps = 1e-5f;
  struct Shape {
    int in, out;
  };
  for (const auto& [in, out] : {Shape{2048, 300}, Shape{4096, 4300}, Shape{264, 40}}) {
    for (const int tokens : {1, 2, 5, 8}) {
      ASSERT_TRUE(gemv_takes_norm(tokens, in));
      const Rows<float> x = normal_rows<float>({tokens, in, 8, 0}, random_, 30.0f);
      const std::vector<float> norm = normal_rows<float>({1, in, 0, 0}, random_).values;
      const float scale = 1.0f / std::sqrt(static_cast<float>(in));
      const Rows<bf16> w = normal_rows<bf16>({out, in, 0, 0}, random_, scale);
      const DeviceRows<float> device_x(x);
      const DeviceRows<bf16> device_w(w);
      const DeviceArray<float> device_norm(norm);
      const DeviceRows<float> y(Layout{tokens, out, 0, 0});
      GemvArgs args{.x = device_x.data(),
                    .x_stride = x.layout.stride(),
                    .tokens = tokens,
                    .in = in,
                    .norm = device_norm.data(),
                    .eps = kEps,
                    .num_terms = 1};
      args.terms[0] = {
          .w = device_w.data(), .y = y.data(), .y_stride = out, .out = out, .y_is_f32 = true};
      launch(args);
      const Rows<float> got = y.download();
      Judge judge;
      for (int64_t token = 0; token < tokens; ++token) {
        double squares = 0.0;
        for (int k = 0; k < in; ++k) {
          squares += double{x.get(token, k)} * x.get(token, k);
        }
        const double factor = 1.0 / std::sqrt(squares / in + kEps);
        std::vector<bf16> normed(in);  // before the factor, as the kernel rounds it
        for (int k = 0; k < in; ++k) {
          normed[k] = bf16(static_cast<float>(x.get(token, k)) * norm[k]);
        }
        const std::vector<Product> want = expert_row(&normed[0], &w.values[0], nullptr, in, out);
        for (int row = 0; row < out; ++row) {
          const double value = factor * want[row].value;
          judge.compare(got.get(token, row), value,
                        factor * want[row].slack + 4e-6 * std::abs(value), token, row);
        }
      }
      EXPECT_EQ(judge.problem(), "") << in << " to " << out << ", " << tokens << " tokens";
    }
  }
}

TEST_P(CudaOpsDenseGemv, Gated) {
  struct Shape {
    int in, out;
  };
  for (const auto& [in, out] : {Shape{4096, 1000}, Shape{256, 2500}, Shape{40, 17}}) {
    for (const int tokens : {1, 5, 13, 32}) {
      if (!takes(tokens, in)) {
        continue;
      }
      for (const bool with_bias : {false, true}) {
        const float scale = 1.0f / std::sqrt(static_cast<float>(in));
        const Rows<bf16> x = normal_rows<bf16>({tokens, in, 0, 0}, random_);
        const Rows<bf16> gate = normal_rows<bf16>({out, in, 0, 0}, random_, scale);
        const Rows<bf16> up = normal_rows<bf16>({out, in, 0, 0}, random_, scale);
        const std::vector<float> biases = normal_rows<float>({2, out, 0, 0}, random_).values;
        const DeviceRows<bf16> device_x(x), device_gate(gate), device_up(up);
        const DeviceRows<bf16> y(Layout{tokens, out, 8, 0});
        const DeviceArray<float> bias(biases);
        GemvArgs args{.x = device_x.data(),
                      .x_stride = in,
                      .tokens = tokens,
                      .in = in,
                      .num_terms = 2,
                      .gated = true,
                      .terms = {}};
        args.terms[0] = {.w = device_gate.data(),
                         .bias = with_bias ? bias.data() : nullptr,
                         .y = y.data(),
                         .y_stride = out + 8,
                         .out = out};
        args.terms[1] = args.terms[0];
        args.terms[1].w = device_up.data();
        args.terms[1].bias = with_bias ? bias.data() + out : nullptr;
        args.terms[1].y = nullptr;
        launch(args);
        const Rows<bf16> got = y.download();
        Judge judge;
        for (int64_t token = 0; token < tokens; ++token) {
          const bf16* row = &x.values[token * in];
          const auto g = expert_row(row, &gate.values[0], nullptr, in, out);
          const auto u = expert_row(row, &up.values[0], nullptr, in, out);
          for (int col = 0; col < out; ++col) {
            const double a = g[col].value + (with_bias ? biases[col] : 0.0);
            const double b = u[col].value + (with_bias ? biases[out + col] : 0.0);
            const Product want =
                silu_product({a, g[col].slack + f32_bound(a)}, {b, u[col].slack + f32_bound(b)});
            judge.compare(got.get(token, col), want.value, bf16_bound(want.value) + want.slack,
                          token, col);
          }
        }
        EXPECT_EQ(judge.problem(), "") << in << " to " << out << ", " << tokens << " tokens";
      }
    }
  }
}

}  // namespace
}  // namespace hopskip::cuda
