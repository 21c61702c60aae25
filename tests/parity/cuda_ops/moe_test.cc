// The mixture of experts against fp64 and against sorting the obvious way.
#include <limits>
#include <numeric>

#include "kernels/cuda/sm90/grouped_gemm/launch.h"
#include "kernels/cuda/smxx/gather_rows/launch.h"
#include "kernels/cuda/smxx/grouped_gemv/launch.h"
#include "kernels/cuda/smxx/moe_combine/launch.h"
#include "kernels/cuda/smxx/moe_permute/launch.h"
#include "kernels/cuda/smxx/moe_route/launch.h"
#include "parity/cuda_ops/moe_support.h"

namespace hopskip::cuda {
namespace {

using test::bf16_bound;
using test::DeviceArray;
using test::DeviceLayout;
using test::DeviceRows;
using test::expert_row;
using test::f32_bound;
using test::HostLayout;
using test::Judge;
using test::Layout;
using test::normal_rows;
using test::Product;
using test::require_cuda;
using test::Rows;
using test::skewed_ids;

using CudaOpsRoute = test::OpsTest;
using CudaOpsPermute = test::OpsTest;
using CudaOpsCombine = test::OpsTest;
using CudaOpsGemv = test::OpsTest;
using CudaOpsMoe = test::OpsTest;

class CudaOpsGemm : public test::OpsTest {
 protected:
  void SetUp() override {
    test::OpsTest::SetUp();
    if (!IsSkipped() && !is_hopper()) {
      GTEST_SKIP() << "not a Hopper GPU";
    }
  }
};

TEST_F(CudaOpsRoute, SoftmaxAndTheLargest) {
  struct Case {
    int experts, k;
  };
  for (const auto& [experts, k] : {Case{1, 1}, Case{8, 2}, Case{60, 4}, Case{64, 6}, Case{128, 8},
                                   Case{256, 16}, Case{33, 32}}) {
    for (const int64_t tokens : {0, 1, 3, 130}) {
      for (const bool renormalise : {false, true}) {
        SCOPED_TRACE(fmt::format("{} of {}, {} tokens", k, experts, tokens));
        Rows<float> logits = normal_rows<float>({tokens, experts, 3, 0}, random_, 3.0f);
        for (int64_t token = 0; token < tokens; token += 3) {  // every third has ties
          for (int expert = 0; expert < experts; ++expert) {
            logits.at(token, expert) = std::round(logits.at(token, expert) / 3.0f);
          }
        }
        const DeviceRows<float> device_logits(logits);
        const DeviceArray<int32_t> device_ids(tokens * k + 1);
        const DeviceArray<float> device_weights(tokens * k + 1);
        launch_moe_route({device_logits.data(), device_ids.data(), device_weights.data(),
                          renormalise, tokens, logits.layout.stride(), experts, k},
                         nullptr);
        const std::vector<int32_t> ids = device_ids.download();
        const std::vector<float> weights = device_weights.download();
        EXPECT_EQ(ids.back(), -1) << "written behind the end";
        EXPECT_TRUE(std::isnan(weights.back())) << "written behind the end";
        Judge judge;
        for (int64_t token = 0; token < tokens; ++token) {
          std::vector<int32_t> order(experts);
          std::iota(order.begin(), order.end(), 0);
          std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
            return logits.get(token, a) > logits.get(token, b);
          });
          const auto share = [&](int rank) {
            return std::exp(logits.get(token, order[rank]) - logits.get(token, order[0]));
          };
          double sum = 0.0;
          for (int rank = 0; rank < (renormalise ? k : experts); ++rank) {
            sum += share(rank);
          }
          for (int rank = 0; rank < k; ++rank) {
            ASSERT_EQ(ids[token * k + rank], order[rank]) << "token " << token;
            // The difference of logits is rounded once, its exponential is off by two last places.
            const double want = share(rank) / sum;
            judge.compare(weights[token * k + rank], want, 3e-6 * want, token, rank);
          }
        }
        EXPECT_EQ(judge.problem(), "");
      }
    }
  }
}

TEST_F(CudaOpsRoute, NotANumberLoses) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const DeviceArray<float> logits(std::vector<float>{kNan, 1.0f, kNan, 2.0f});
  const DeviceArray<int32_t> ids(3);
  const DeviceArray<float> weights(3);
  launch_moe_route({logits.data(), ids.data(), weights.data(), true, 1, 4, 4, 3}, nullptr);
  EXPECT_EQ(ids.download(), (std::vector<int32_t>{3, 1, 0}));
  EXPECT_EQ(weights.download()[2], 0.0f);
}

TEST_F(CudaOpsPermute, SortsByExpert) {
  struct Case {
    int experts, k;
  };
  for (const auto& [experts, k] : {Case{1, 1}, Case{8, 2}, Case{128, 8}, Case{256, 16}}) {
    for (const int64_t tokens : {0, 1, 5, 64, 1000, 8192}) {
      for (const int block_rows : {1, 16, kGroupedGemmRows}) {
        SCOPED_TRACE(fmt::format("{} of {} experts, {} tokens, blocks of {}", k, experts, tokens,
                                 block_rows));
        const std::vector<int32_t> ids = skewed_ids(tokens, k, experts, random_);
        const HostLayout want(ids, k, experts, block_rows);
        const DeviceArray<int32_t> device_ids(ids);
        const DeviceLayout layout(tokens * k, want.max_rows, experts, block_rows);
        launch_moe_permute({device_ids.data(), layout.get(), tokens, k, experts, block_rows},
                           nullptr);
        layout.expect_equals(want);
      }
    }
  }
}

TEST_F(CudaOpsCombine, AddsWeightedRows) {
  for (const int64_t cols : {8, 100, 2048, 2049}) {
    for (const int64_t tokens : {0, 1, 77}) {
      for (const int k : {1, 3, 8}) {
        for (const auto& [gap, shift] : {std::pair{0, 0}, std::pair{4, 4}, std::pair{1, 1}}) {
          const Rows<bf16> y = normal_rows<bf16>({tokens * k + 9, cols, 0, 0}, random_);
          const Rows<float> x = normal_rows<float>({tokens, cols, gap, shift}, random_, 5.0f);
          std::vector<int32_t> rows(y.layout.rows);
          std::iota(rows.begin(), rows.end(), 0);
          std::shuffle(rows.begin(), rows.end(), random_);
          rows.resize(tokens * k);
          std::vector<float> weights(tokens * k);
          for (float& weight : weights) {
            weight = std::uniform_real_distribution<float>(0.0f, 1.0f)(random_);
          }
          const DeviceRows<bf16> device_y(y);
          const DeviceRows<float> device_x(x);
          const DeviceArray<int32_t> device_rows(rows);
          const DeviceArray<float> device_weights(weights);
          launch_moe_combine({device_y.data(), device_rows.data(), device_weights.data(),
                              device_x.data(), tokens, cols, x.layout.stride(), k},
                             nullptr);
          const Rows<float> out = device_x.download();
          Judge judge;
          for (int64_t token = 0; token < tokens; ++token) {
            for (int64_t col = 0; col < cols; ++col) {
              double want = x.get(token, col);
              double bound = f32_bound(want);
              for (int i = 0; i < k; ++i) {
                want += double{weights[token * k + i]} * y.get(rows[token * k + i], col);
                bound += f32_bound(want);
              }
              judge.compare(out.get(token, col), want, bound, token, col);
            }
          }
          EXPECT_EQ(judge.problem(), "") << cols << " wide, k " << k << ", gap " << gap;
        }
      }
    }
  }
}

struct GroupedCase {
  int64_t tokens;
  int k, experts, in, out;
};
constexpr GroupedCase kGroupedCases[] = {
    {1, 8, 128, 512, 128},  {1, 1, 1, 8, 16},       {3, 2, 8, 72, 48},      {64, 8, 128, 256, 384},
    {2, 2, 4, 2048, 1536},  {30, 2, 4, 768, 2048},  {40, 4, 16, 200, 272},  {150, 4, 8, 264, 528},
    {333, 2, 5, 1024, 512}, {0, 2, 4, 64, 64},      {700, 8, 64, 128, 768}, {20, 2, 3, 40, 1040},
    {130, 1, 2, 64, 256},   {700, 8, 64, 328, 768},
};

// Checks some rows of c, and that nothing else was written.
template <typename Launch>
void check_grouped(const GroupedCase& c, bool gated, int block_rows, std::mt19937_64& random,
                   const Launch& launch) {
  SCOPED_TRACE(fmt::format("{} tokens, {} of {} experts, {} → {}{}", c.tokens, c.k, c.experts, c.in,
                           c.out, gated ? ", gated" : ""));
  const HostLayout layout(skewed_ids(c.tokens, c.k, c.experts, random), c.k, c.experts, block_rows);
  // Rows that are padding hold NaN; whoever multiplies them must keep it to himself.
  Rows<bf16> a(Layout{layout.max_rows, c.in, 0, 0});
  const Rows<bf16> values = normal_rows<bf16>(a.layout, random);
  std::vector<int> expert_of(layout.max_rows, -1);
  for (int expert = 0; expert < c.experts; ++expert) {
    for (int i = 0; i < layout.counts[expert]; ++i) {
      const int64_t row = layout.offsets[expert] + i;
      expert_of[row] = expert;
      std::copy_n(values.values.begin() + row * c.in, c.in, a.values.begin() + row * c.in);
    }
  }
  const Layout all_weights{int64_t{c.experts} * c.out, c.in, 0, 0};
  const float scale = 2.0f / std::sqrt(static_cast<float>(c.in));
  const Rows<bf16> b = normal_rows<bf16>(all_weights, random, scale);
  const Rows<bf16> b_up = normal_rows<bf16>(all_weights, random, scale);
  const int cols = c.out;
  const DeviceRows<bf16> device_b(b);
  const DeviceRows<bf16> device_up(b_up);
  const DeviceRows<bf16> device_c(Layout{layout.max_rows, cols, 0, 0});
  launch(layout, a, device_b.data(), gated ? device_up.data() : nullptr, device_c.data());
  const Rows<bf16> out = device_c.download();
  Judge judge;
  int64_t budget = 30'000'000;  // products that may be computed again
  for (int64_t row = 0; row < layout.max_rows; ++row) {
    const int expert = expert_of[row];
    if (expert < 0) {
      EXPECT_EQ(std::memcmp(&out.values[row * cols], DeviceArray<bf16>::poison(cols).data(),
                            cols * sizeof(bf16)),
                0)
          << "padding row " << row << " was written";
      continue;
    }
    const int in_expert = static_cast<int>(row) - layout.offsets[expert];
    const bool edge = in_expert % 64 == 0 || in_expert == layout.counts[expert] - 1;
    if (budget < 0 || (!edge && random() % 4 != 0)) {
      continue;
    }
    budget -= int64_t{c.in} * c.out;
    const int64_t first = int64_t{expert} * c.out * c.in;
    const std::vector<Product> want =
        expert_row(&a.values[row * c.in], &b.values[first], gated ? &b_up.values[first] : nullptr,
                   c.in, c.out);
    for (int col = 0; col < cols; ++col) {
      judge.compare(out.get(row, col), want[col].value,
                    bf16_bound(want[col].value) + want[col].slack, row, col);
    }
  }
  EXPECT_EQ(judge.problem(), "");
}

TEST_F(CudaOpsGemv, EveryExpertsRows) {
  for (const GroupedCase& c : kGroupedCases) {
    for (const bool gated : {false, true}) {
      for (const int block_rows : {1, kGroupedGemmRows}) {
        for (const bool indirect : {false, true}) {
          check_grouped(c, gated, block_rows, random_,
                        [&](const HostLayout& host, const Rows<bf16>& rows, const bf16* b,
                            const bf16* b_up, bf16* out) {
                          const DeviceLayout layout(host);
                          // Indirect: row i of a is at perm[i], in rows that lie 8 elements apart.
                          std::vector<int32_t> perm(host.max_rows);
                          std::iota(perm.begin(), perm.end(), 0);
                          Rows<bf16> a(Layout{host.max_rows, c.in, indirect ? 8 : 0, 0});
                          if (indirect) {
                            std::shuffle(perm.begin(), perm.end(), random_);
                          }
                          for (int64_t row = 0; row < host.max_rows; ++row) {
                            std::copy_n(rows.values.begin() + row * c.in, c.in,
                                        a.values.begin() + a.layout.place(perm[row], 0));
                          }
                          const DeviceRows<bf16> device_a(a);
                          const DeviceArray<int32_t> device_perm(perm);
                          const MoeLayout l = layout.get();
                          launch_grouped_gemv({.a = device_a.data(),
                                               .a_rows = indirect ? device_perm.data() : nullptr,
                                               .b = b,
                                               .b_up = b_up,
                                               .c = out,
                                               .offsets = l.offsets,
                                               .counts = l.counts,
                                               .active = l.active,
                                               .num_active = l.num_active,
                                               .a_stride = a.layout.stride(),
                                               .max_active = static_cast<int32_t>(
                                                   std::min<int64_t>(c.experts, c.tokens * c.k)),
                                               .in = c.in,
                                               .out = c.out},
                                              nullptr);
                          require_cuda(cudaDeviceSynchronize(), "grouped_gemv");
                        });
        }
      }
    }
  }
}

TEST_F(CudaOpsGemm, EveryExpertsRows) {
  for (const GroupedCase& c : kGroupedCases) {
    for (const bool gated : {false, true}) {
      check_grouped(c, gated, kGroupedGemmRows, random_,
                    [&](const HostLayout& host, const Rows<bf16>& rows, const bf16* b,
                        const bf16* b_up, bf16* out) {
                      const DeviceLayout layout(host);
                      const DeviceRows<bf16> device_a(rows);
                      const MoeLayout l = layout.get();
                      launch_grouped_gemm({.a = device_a.data(),
                                           .b = b,
                                           .b_up = b_up,
                                           .c = out,
                                           .block_experts = l.block_experts,
                                           .offsets = l.offsets,
                                           .counts = l.counts,
                                           .max_rows = host.max_rows,
                                           .experts = c.experts,
                                           .in = c.in,
                                           .out = c.out},
                                          nullptr);
                      require_cuda(cudaDeviceSynchronize(), "grouped_gemm");
                    });
    }
  }
}

// A whole layer, from router logits to the residual stream.
class Layer {
 public:
  static constexpr int kExperts = 16, kChosen = 4, kHidden = 256, kInner = 192;

  Layer(int64_t tokens, bool gemm, std::mt19937_64& random)
      : tokens_(tokens),
        gemm_(gemm),
        block_rows_(gemm ? kGroupedGemmRows : 1),
        max_rows_(moe_max_rows(tokens, kChosen, kExperts, block_rows_)),
        logits_(normal_rows<float>({tokens, kExperts, 0, 0}, random, 2.0f)),
        x_(normal_rows<bf16>({tokens, kHidden, 0, 0}, random)),
        gate_(normal_rows<bf16>({kExperts * kInner, kHidden, 0, 0}, random, 0.1f)),
        up_(normal_rows<bf16>({kExperts * kInner, kHidden, 0, 0}, random, 0.1f)),
        down_(normal_rows<bf16>({kExperts * kHidden, kInner, 0, 0}, random, 0.1f)),
        residual_(normal_rows<float>({tokens, kHidden, 0, 0}, random)),
        device_logits_(logits_),
        device_x_(x_),
        device_gate_(gate_),
        device_up_(up_),
        device_down_(down_),
        device_residual_(residual_),
        ids_(tokens * kChosen),
        weights_(tokens * kChosen),
        layout_(tokens * kChosen, max_rows_, kExperts, block_rows_),
        gathered_(max_rows_ * kHidden),
        inner_(max_rows_ * kInner),
        y_(max_rows_ * kHidden) {}

  void launch(CudaStream stream) const {
    const MoeLayout l = layout_.get();
    launch_moe_route({device_logits_.data(), ids_.data(), weights_.data(), true, tokens_, kExperts,
                      kExperts, kChosen},
                     stream);
    launch_moe_permute({ids_.data(), l, tokens_, kChosen, kExperts, block_rows_}, stream);
    if (gemm_) {
      launch_gather_rows({.x = device_x_.data(),
                          .out = gathered_.data(),
                          .index32 = l.row_tokens,
                          .rows = max_rows_,
                          .cols = kHidden,
                          .x_stride = kHidden,
                          .out_stride = kHidden,
                          .element_bytes = 2},
                         stream);
      GroupedGemmArgs gemm{.a = gathered_.data(),
                           .b = device_gate_.data(),
                           .b_up = device_up_.data(),
                           .c = inner_.data(),
                           .block_experts = l.block_experts,
                           .offsets = l.offsets,
                           .counts = l.counts,
                           .max_rows = max_rows_,
                           .experts = kExperts,
                           .in = kHidden,
                           .out = kInner};
      launch_grouped_gemm(gemm, stream);
      gemm.a = inner_.data();
      gemm.b = device_down_.data();
      gemm.b_up = nullptr;
      gemm.c = y_.data();
      gemm.in = kInner;
      gemm.out = kHidden;
      launch_grouped_gemm(gemm, stream);
    } else {
      GroupedGemvArgs gemv{.a = device_x_.data(),
                           .a_rows = l.row_tokens,
                           .b = device_gate_.data(),
                           .b_up = device_up_.data(),
                           .c = inner_.data(),
                           .offsets = l.offsets,
                           .counts = l.counts,
                           .active = l.active,
                           .num_active = l.num_active,
                           .a_stride = kHidden,
                           .max_active = kExperts,
                           .in = kHidden,
                           .out = kInner};
      launch_grouped_gemv(gemv, stream);
      gemv.a = inner_.data();
      gemv.a_rows = nullptr;
      gemv.a_stride = kInner;
      gemv.b = device_down_.data();
      gemv.b_up = nullptr;
      gemv.c = y_.data();
      gemv.in = kInner;
      gemv.out = kHidden;
      launch_grouped_gemv(gemv, stream);
    }
    launch_moe_combine({y_.data(), layout_.get().rows, weights_.data(), device_residual_.data(),
                        tokens_, kHidden, kHidden, kChosen},
                       stream);
  }

  // Whatever launch() wrote on top of the residual stream, as if it had started from it afresh.
  std::vector<float> take() const {
    std::vector<float> values = device_residual_.array.download();
    require_cuda(cudaMemcpy(device_residual_.array.data(), residual_.values.data(),
                            residual_.values.size() * sizeof(float), cudaMemcpyHostToDevice),
                 "start again");
    return values;
  }

  std::string judge(const std::vector<float>& got) const {
    const std::vector<int32_t> ids = ids_.download();
    const std::vector<float> weights = weights_.download();
    Judge judge;
    for (int64_t token = 0; token < tokens_; ++token) {
      std::vector<Product> want(kHidden);
      for (int i = 0; i < kChosen; ++i) {
        const int64_t expert = ids[token * kChosen + i];
        const double weight = weights[token * kChosen + i];
        const std::vector<Product> inner =
            expert_row(&x_.values[token * kHidden], &gate_.values[expert * kInner * kHidden],
                       &up_.values[expert * kInner * kHidden], kHidden, kInner);
        for (int col = 0; col < kHidden; ++col) {
          double y = 0.0;
          double slack = 0.0;  // of the intermediate, rounded to BF16
          for (int j = 0; j < kInner; ++j) {
            const double w = down_.get(expert * kHidden + col, j);
            y += inner[j].value * w;
            slack += (bf16_bound(inner[j].value) + inner[j].slack) * std::abs(w);
          }
          want[col].value += weight * y;
          want[col].slack += weight * (slack / std::sqrt(kInner) * 4.0 + bf16_bound(y));
        }
      }
      for (int col = 0; col < kHidden; ++col) {
        judge.compare(got[token * kHidden + col], residual_.get(token, col) + want[col].value,
                      want[col].slack + 1e-5, token, col);
      }
    }
    return judge.problem();
  }

 private:
  int64_t tokens_;
  bool gemm_;
  int block_rows_;
  int64_t max_rows_;
  Rows<float> logits_;
  Rows<bf16> x_, gate_, up_, down_;
  Rows<float> residual_;
  DeviceRows<float> device_logits_;
  DeviceRows<bf16> device_x_, device_gate_, device_up_, device_down_;
  DeviceRows<float> device_residual_;
  DeviceArray<int32_t> ids_;
  DeviceArray<float> weights_;
  DeviceLayout layout_;
  DeviceArray<bf16> gathered_, inner_, y_;
};

void check_layer(bool gemm, std::mt19937_64& random) {
  for (const int64_t tokens : {1, 9, 300}) {
    SCOPED_TRACE(fmt::format("{} tokens", tokens));
    const Layer layer(tokens, gemm, random);
    layer.launch(nullptr);
    const std::vector<float> first = layer.take();
    EXPECT_EQ(layer.judge(first), "");
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t instance = nullptr;
    require_cuda(cudaStreamCreate(&stream), "make a stream");
    require_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    layer.launch(stream);
    require_cuda(cudaStreamEndCapture(stream, &graph), "capture a layer");
    require_cuda(cudaGraphInstantiate(&instance, graph, 0), "instantiate");
    for (int replay = 0; replay < 3; ++replay) {
      require_cuda(cudaGraphLaunch(instance, stream), "replay");
      require_cuda(cudaStreamSynchronize(stream), "replay");
      const std::vector<float> again = layer.take();
      EXPECT_EQ(std::memcmp(again.data(), first.data(), first.size() * sizeof(float)), 0)
          << "a replay differs";
    }
    cudaGraphExecDestroy(instance);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
  }
}

TEST_F(CudaOpsMoe, LayerOfFewRowsAlsoAsGraph) { check_layer(false, random_); }
TEST_F(CudaOpsGemm, LayerAlsoAsGraph) { check_layer(true, random_); }

// What the tests above must refuse. Runs without a GPU.
TEST(CudaOpsJudges, RefuseProductsThatMissAnElementOrTheExpert) {
  std::mt19937_64 random(3);
  constexpr int kIn = 512;
  constexpr int kOut = 64;
  const Rows<bf16> a = normal_rows<bf16>({1, kIn, 0, 0}, random);
  const Rows<bf16> b = normal_rows<bf16>({2 * kOut, kIn, 0, 0}, random, 0.1f);
  const auto judged = [&](int in, int expert, bool gated) {
    const bf16* up = gated ? &b.values[kOut * kIn] : nullptr;
    const std::vector<Product> want = expert_row(&a.values[0], &b.values[0], up, kIn, kOut);
    Rows<bf16> part = b;
    for (int row = 0; row < 2 * kOut; ++row) {
      for (int i = in; i < kIn; ++i) {
        part.at(row, i) = bf16(0.0f);
      }
    }
    const std::vector<Product> got =
        expert_row(&a.values[0], &part.values[expert * kOut * kIn],
                   gated ? &part.values[kOut * kIn] : nullptr, kIn, kOut);
    Judge judge;
    for (size_t i = 0; i < want.size(); ++i) {
      judge.compare(static_cast<float>(bf16(static_cast<float>(got[i].value))), want[i].value,
                    bf16_bound(want[i].value) + want[i].slack, 0, i);
    }
    return judge.problem();
  };
  for (const bool gated : {false, true}) {
    EXPECT_EQ(judged(kIn, 0, gated), "");
    EXPECT_NE(judged(kIn - 1, 0, gated), "");
    EXPECT_NE(judged(kIn, 1, gated), "");
  }
}

}  // namespace
}  // namespace hopskip::cuda
