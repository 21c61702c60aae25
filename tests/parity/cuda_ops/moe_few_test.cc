// A mixture of experts for few tokens, norm and router included, against fp64.
#include "kernels/cuda/smxx/moe_few/launch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "kernels/cuda/sm90/moe_few/launch.h"
#include "parity/cuda_ops/moe_support.h"

namespace hopskip::cuda {
namespace {

using test::bf16_bound;
using test::DeviceArray;
using test::DeviceRows;
using test::expert_row;
using test::f32_bound;
using test::Judge;
using test::normal_rows;
using test::Product;
using test::require_cuda;
using test::Rows;
using test::silu_product;

using CudaOpsMoeFew = test::OpsTest;

struct Case {
  int tokens, experts, k, hidden, inner;
  bool renormalise;
};
constexpr Case kCases[] = {
    {1, 24, 8, 2048, 768, true}, {4, 128, 8, 256, 96, true}, {2, 60, 4, 72, 40, false},
    {3, 8, 2, 512, 1032, true},  {1, 1, 1, 8, 8, false},     {4, 256, 16, 64, 24, true},
    {4, 40, 32, 64, 24, false},  {2, 8, 3, 2048, 136, true},
};

// Layer by layer: each stage is judged by what the device made of the one before.
// How the experts are computed: by the kernels of any GPU, or by so many CTAs of the weight stream,
// 0 for one on each multiprocessor.
using Launch = std::function<void(const MoeFewArgs&)>;
Launch stream_of(int ctas) {
  return [ctas](const MoeFewArgs& args) {
    ASSERT_TRUE(moe_few_stream_takes(args));
    launch_moe_few_stream(args, nullptr, ctas);
  };
}

void check_few(const Case& c, const Launch& launch, std::mt19937_64& random) {
  constexpr float kEps = 1e-6f;
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.hidden));
  const auto weights_of = [&](int64_t rows, int64_t cols, float size) {
    return normal_rows<bf16>({rows, cols, 0, 0}, random, size);
  };
  const Rows<float> x = normal_rows<float>({c.tokens, c.hidden, 8, 0}, random, 3.0f);
  const std::vector<float> norm = normal_rows<float>({1, c.hidden, 0, 0}, random).values;
  const Rows<bf16> router = weights_of(c.experts, c.hidden, 2.0f * scale);
  const Rows<bf16> gate = weights_of(int64_t{c.experts} * c.inner, c.hidden, scale);
  const Rows<bf16> up = weights_of(int64_t{c.experts} * c.inner, c.hidden, scale);
  const Rows<bf16> down = weights_of(int64_t{c.experts} * c.hidden, c.inner,
                                     1.0f / std::sqrt(static_cast<float>(c.inner)));
  const DeviceRows<float> device_x(x);
  const DeviceArray<float> device_norm(norm);
  const DeviceRows<bf16> device_router(router), device_gate(gate), device_up(up), device_down(down);
  const int pairs = c.tokens * c.k;
  const DeviceArray<bf16> products(int64_t{pairs} * c.inner);
  const DeviceArray<float> logits(c.tokens * c.experts);
  const MoeFewArgs args{.x = device_x.data(),
                        .norm = device_norm.data(),
                        .router = device_router.data(),
                        .gate = device_gate.data(),
                        .up = device_up.data(),
                        .down = device_down.data(),
                        .logits = logits.data(),
                        .products = products.data(),
                        .x_stride = x.layout.stride(),
                        .logits_stride = c.experts,
                        .tokens = c.tokens,
                        .experts = c.experts,
                        .k = c.k,
                        .hidden = c.hidden,
                        .inner = c.inner,
                        .eps = kEps,
                        .renormalise = c.renormalise};
  launch(args);
  const Rows<float> got = device_x.download();
  const std::vector<float> got_logits = logits.download();
  const std::vector<bf16> got_products = products.download();
  Judge logits_judge, products_judge, judge;
  for (int64_t token = 0; token < c.tokens; ++token) {
    double squares = 0.0;
    for (int k = 0; k < c.hidden; ++k) {
      squares += double{x.get(token, k)} * x.get(token, k);
    }
    const double factor = 1.0 / std::sqrt(squares / c.hidden + kEps);
    std::vector<bf16> staged(c.hidden);  // before the factor, as the kernels round it
    for (int k = 0; k < c.hidden; ++k) {
      staged[k] = bf16(static_cast<float>(x.get(token, k)) * norm[k]);
    }
    const auto want_logits =
        expert_row(&staged[0], &router.values[0], nullptr, c.hidden, c.experts);
    const float* token_logits = &got_logits[token * c.experts];
    for (int expert = 0; expert < c.experts; ++expert) {
      const double want = factor * want_logits[expert].value;
      logits_judge.compare(token_logits[expert], want,
                           factor * want_logits[expert].slack + 4e-6 * std::abs(want), token,
                           expert);
    }
    std::vector<int> order(c.experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return token_logits[a] > token_logits[b]; });
    double all = 0.0;
    double chosen = 0.0;
    for (int i = 0; i < c.experts; ++i) {
      const double p = std::exp(double{token_logits[order[i]]} - token_logits[order[0]]);
      all += p;
      chosen += i < c.k ? p : 0.0;
    }
    std::vector<double> sum(c.hidden), slack(c.hidden);
    for (int i = 0; i < c.k; ++i) {
      const int64_t pair = token * c.k + i;
      const int64_t expert = order[i];
      const double weight = std::exp(double{token_logits[expert]} - token_logits[order[0]]) /
                            (c.renormalise ? chosen : all);
      const int64_t first = expert * c.inner * c.hidden;
      const auto product = [&](const Rows<bf16>& of) {
        return expert_row(&staged[0], &of.values[first], nullptr, c.hidden, c.inner);
      };
      const std::vector<Product> want_gate = product(gate);
      const std::vector<Product> want_up = product(up);
      const auto scaled = [&](const Product& p) {
        return Product{factor * p.value, factor * p.slack + 4e-6 * std::abs(factor * p.value)};
      };
      for (int j = 0; j < c.inner; ++j) {
        const Product want = silu_product(scaled(want_gate[j]), scaled(want_up[j]));
        products_judge.compare(static_cast<float>(got_products[pair * c.inner + j]), want.value,
                               bf16_bound(want.value) + want.slack, pair, j);
      }
      const auto out = expert_row(&got_products[pair * c.inner], &down.values[first], nullptr,
                                  c.inner, c.hidden);
      for (int col = 0; col < c.hidden; ++col) {
        sum[col] += weight * out[col].value;
        slack[col] +=
            weight * (out[col].slack + 2e-6 * std::abs(out[col].value)) + 2 * f32_bound(sum[col]);
      }
    }
    for (int col = 0; col < c.hidden; ++col) {
      const double want = x.get(token, col) + sum[col];
      judge.compare(got.get(token, col), want, slack[col] + 2 * f32_bound(want), token, col);
    }
  }
  EXPECT_EQ(logits_judge.problem(), "");
  EXPECT_EQ(products_judge.problem(), "");
  EXPECT_EQ(judge.problem(), "");
}

void check_all(const Launch& launch, std::mt19937_64& random) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(fmt::format("{} tokens, {} of {} experts, {} and {}", c.tokens, c.k, c.experts,
                             c.hidden, c.inner));
    check_few(c, launch, random);
  }
}

TEST_F(CudaOpsMoeFew, EveryStage) {
  check_all([](const MoeFewArgs& args) { launch_moe_few(args, nullptr); }, random_);
}

// Few CTAs have several tiles each, and their borders are not those of tokens.
TEST_F(CudaOpsMoeFew, EveryStageOfTheWeightStream) {
  if (!is_hopper()) {
    GTEST_SKIP() << "not a Hopper GPU";
  }
  for (const int ctas : {0, 7}) {
    SCOPED_TRACE(fmt::format("{} CTAs", ctas));
    check_all(stream_of(ctas), random_);
  }
}

// Kernels start before the one before them has ended: layers in a row give the same bits as layers
// with a pause between them, directly and from a graph.
TEST_F(CudaOpsMoeFew, LayersInARowSeeTheOnesBefore) {
  constexpr int kLayers = 12, kTokens = 2, kExperts = 16, kChosen = 4, kHidden = 2048, kInner = 768;
  const auto weights_of = [&](int64_t rows, int64_t cols) {
    return DeviceRows<bf16>(
        normal_rows<bf16>({rows, cols, 0, 0}, random_, 1.0f / std::sqrt(static_cast<float>(cols))));
  };
  const auto router = weights_of(kExperts, kHidden);
  const auto gate = weights_of(int64_t{kExperts} * kInner, kHidden);
  const auto up = weights_of(int64_t{kExperts} * kInner, kHidden);
  const auto down = weights_of(int64_t{kExperts} * kHidden, kInner);
  const DeviceArray<float> norm(normal_rows<float>({1, kHidden, 0, 0}, random_).values);
  const Rows<float> x = normal_rows<float>({kTokens, kHidden, 0, 0}, random_);
  const std::vector<float> start(x.values.begin(), x.values.begin() + kTokens * kHidden);
  const DeviceArray<float> device_x(start);
  const DeviceArray<bf16> products(int64_t{kTokens} * kChosen * kInner);
  const DeviceArray<float> logits(kTokens * kExperts);
  const MoeFewArgs args{.x = device_x.data(),
                        .norm = norm.data(),
                        .router = router.data(),
                        .gate = gate.data(),
                        .up = up.data(),
                        .down = down.data(),
                        .logits = logits.data(),
                        .products = products.data(),
                        .x_stride = kHidden,
                        .logits_stride = kExperts,
                        .tokens = kTokens,
                        .experts = kExperts,
                        .k = kChosen,
                        .hidden = kHidden,
                        .inner = kInner,
                        .eps = 1e-6f,
                        .renormalise = true};
  cudaStream_t stream = nullptr;
  require_cuda(cudaStreamCreate(&stream), "make a stream");
  const auto launch = [&] {
    is_hopper() ? launch_moe_few_stream(args, stream) : launch_moe_few(args, stream);
  };
  const auto result_of = [&](const auto& run) {
    require_cuda(cudaMemcpy(device_x.data(), start.data(), start.size() * sizeof(float),
                            cudaMemcpyHostToDevice),
                 "start again");
    run();
    require_cuda(cudaStreamSynchronize(stream), "run layers");
    return device_x.download();
  };
  const std::vector<float> want = result_of([&] {
    for (int layer = 0; layer < kLayers; ++layer) {
      launch();
      require_cuda(cudaStreamSynchronize(stream), "run a layer");
    }
  });
  EXPECT_NE(want, start);
  const auto in_a_row = [&] {
    for (int layer = 0; layer < kLayers; ++layer) {
      launch();
    }
  };
  EXPECT_EQ(result_of(in_a_row), want);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  require_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  in_a_row();
  require_cuda(cudaStreamEndCapture(stream, &graph), "capture");
  require_cuda(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
  for (int repeat = 0; repeat < 20; ++repeat) {
    EXPECT_EQ(result_of([&] { require_cuda(cudaGraphLaunch(exec, stream), "launch"); }), want);
  }
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

}  // namespace
}  // namespace hopskip::cuda
