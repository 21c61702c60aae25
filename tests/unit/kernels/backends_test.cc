#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "hopskip/error.h"
#include "kernels/backend.h"
#include "kernels/host_workspace.h"
#include "support/error_matchers.h"
#include "support/step_of_tokens.h"

namespace hopskip {
namespace {

std::string message_of(const std::string& name, const BackendOptions& options) {
  try {
    make_backend(name, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    return error.what();
  }
  return "";
}

TEST(Backends, AutoTakesTheFirstThatRuns) {
  const auto backend = make_backend("auto", {.threads = 2});
  const auto first = std::ranges::find_if(
      backends(), [](const BackendEntry& entry) { return entry.why_not({}).empty(); });
  ASSERT_NE(first, backends().end());
  EXPECT_TRUE(backend->description().starts_with(first->name)) << backend->description();
  // What only the CPU knows leaves no other choice.
  const auto cpu = make_backend("auto", {.threads = 2, .simd = "scalar"});
  EXPECT_EQ(cpu->description(), "cpu (scalar, 2 threads)");
}

TEST(Backends, UnknownNameListsThePossible) {
  EXPECT_ERROR(ErrorCode::kInvalidArgument,
               "no device 'tpu' (there are: auto, cuda, cpu, reference, cuda:N)",
               make_backend("tpu"));
}

TEST(Backends, CudaTakesANumber) {
  for (const char* name : {"cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999"}) {
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "is not cuda:N", make_backend(name));
  }
  // Without a GPU, a driver or the kernels the reason is another one.
  const std::string message = message_of("cuda:99", {});
  EXPECT_NE(message.find("device 'cuda:99' does not run here (cuda: "), std::string::npos)
      << message;
}

TEST(Backends, CudaIgnoresNoSettingOfTheCpu) {
  BackendOptions plans;
  plans.tile_plans.decode = TilePlan{};
  for (const BackendOptions& options : {BackendOptions{.simd = "avx2"}, plans}) {
    EXPECT_EQ(message_of("cuda", options).substr(0, 35), "device 'cuda' does not run here (cu");
  }
}

TEST(Backends, AnInstructionSetIsNeverIgnored) {
  for (const char* name : {"cpu", "auto"}) {
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "unknown instruction set 'mmx'",
                 make_backend(name, {.simd = "mmx"}));
  }
  const std::string message = message_of("reference", {.simd = "avx2"});
  EXPECT_NE(message.find("'avx2' is for the cpu"), std::string::npos) << message;
}

TEST(Backends, OnTheHostSayWhatTheyTakeOfItsMemory) {
  const std::vector<std::byte> bytes(4096);
  const TensorView plain{bytes.data(), DType::kBF16, 2, {16, 32}};
  const TensorView vector{bytes.data(), DType::kF32, 1, {32}};
  const TensorView packed{bytes.data(), DType::kQ4_0, 2, {17, 32}};  // two panels of 16 rows
  TensorView random{nullptr, DType::kBF16, 2, {16, 32}};
  random.random = RandomTensor{};
  const KvConfig kv{.num_layers = 2, .num_kv_heads = 3, .head_dim = 64, .num_pages = 5};
  struct Case {
    const char* backend;
    TensorView view;
    int64_t taken, mapped;
  };
  for (const Case& c : {Case{"cpu", plain, 0, 1024}, Case{"cpu", vector, 32 * 4, 0},
                        Case{"cpu", packed, 2 * 16 * (32 / 2 + 2), 0}, Case{"cpu", random, 1024, 0},
                        Case{"reference", vector, 0, 32 * 4}, Case{"reference", random, 1024, 0}}) {
    const HostBytes taken = make_backend(c.backend)->host_bytes({&c.view, 1}, kv);
    EXPECT_EQ(taken.weights, c.taken) << c.backend;
    EXPECT_EQ(taken.mapped, c.mapped) << c.backend;
    EXPECT_EQ(taken.kv_cache, 5 * int64_t{2} * 2 * 3 * 64 * 64 * 2);
  }
}

TEST(HostWorkspace, MatricesAreApartAndMemoryIsReused) {
  HostWorkspace workspace;
  const Matrix a = workspace.allocate(3, 5);
  const Matrix b = workspace.allocate(1, 1);
  EXPECT_GE(b.values(), a.values() + 15);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data) % 64, 0u);
  workspace.allocate(1024, 1024);
  workspace.reset();
  const size_t capacity = workspace.capacity();
  for (int step = 0; step < 3; ++step) {
    workspace.allocate(3, 5);
    workspace.allocate(1, 1);
    workspace.allocate(1024, 1024);
    EXPECT_EQ(workspace.capacity(), capacity);
    workspace.reset();
  }
  EXPECT_THROW(workspace.allocate(int64_t{1} << 40, int64_t{1} << 40), Error);
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "let it take fewer tokens (chunk_tokens)",
               workspace.allocate(int64_t{1} << 20, int64_t{1} << 25));  // 141 TB
}

TEST(ReferenceBackend, ComputesWhatAHandDoes) {
  const auto backend = make_backend("reference");
  const float w_values[] = {1, 2, 3, 4, 5, 6};  // [3, 2]
  const float bias_values[] = {10, 20, 30};
  const auto w = backend->load({w_values, DType::kF32, 2, {3, 2}});
  const auto bias = backend->load({bias_values, DType::kF32, 1, {3}});
  Matrix x = backend->allocate(1, 2, MatrixKind::kActivation);
  Matrix y = backend->allocate(1, 3, MatrixKind::kActivation);
  x.values()[0] = 3;
  x.values()[1] = 4;
  const LinearTerm term{w.get(), bias.get(), y, false};
  backend->linear(x, {&term, 1});
  EXPECT_EQ(std::vector<float>(y.values(), y.values() + 3), (std::vector<float>{21, 45, 69}));

  const float ones[] = {1, 2};
  backend->rms_norm(x, *backend->load({ones, DType::kF32, 1, {2}}), 0.0f, x);
  EXPECT_FLOAT_EQ(x.row(0)[0], 3 / std::sqrt(12.5f));
  EXPECT_FLOAT_EQ(x.row(0)[1], 8 / std::sqrt(12.5f));

  x.row(0)[0] = 1;
  x.row(0)[1] = 0;
  const test::StepOfTokens step(*backend, {0}, {2});
  backend->rope(step.get(), x, 2, {.inv_freq = {0.25f}});
  EXPECT_FLOAT_EQ(x.row(0)[0], std::cos(0.5f));
  EXPECT_FLOAT_EQ(x.row(0)[1], std::sin(0.5f));
}

TEST(Clear, LeavesWhatIsBesideTheColumns) {
  for (const char* name : {"cpu", "reference"}) {
    const auto backend = make_backend(name, {.threads = 1});
    const Matrix all = backend->allocate(3, 4, MatrixKind::kExact);
    std::fill_n(all.values(), 12, 1.0f);
    backend->clear({all.row(1) + 1, 2, 2, 4});
    EXPECT_EQ(std::vector<float>(all.values(), all.values() + 12),
              (std::vector<float>{1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1}));
    EXPECT_EQ(backend->world().size, 1);
    backend->all_reduce(all);  // the sum over one
    EXPECT_EQ(all.row(0)[0], 1.0f);
    EXPECT_EQ(all.row(1)[1], 0.0f);
  }
}

TEST(Contract, ShapesThatDoNotFitAreRefused) {
  const float values[6] = {};
  for (const char* name : {"cpu", "reference"}) {
    const auto backend = make_backend(name, {.threads = 1});
    const auto w = backend->load({values, DType::kF32, 2, {3, 2}});
    const Matrix x = backend->allocate(1, 3, MatrixKind::kActivation);
    const LinearTerm term{w.get(), nullptr, backend->allocate(1, 3, MatrixKind::kActivation),
                          false};
    EXPECT_THROW(backend->linear(x, {&term, 1}), Error);
    EXPECT_THROW(backend->load({values, DType::kI32, 1, {6}}), Error);
    EXPECT_THROW(backend->load({values, DType::kQ4_0, 2, {1, 6}}), Error);
    EXPECT_THROW(backend->rms_norm(x, *w, 0.0f, backend->allocate(1, 2, MatrixKind::kActivation)),
                 Error);
    const test::StepOfTokens step(*backend, {0}, {0}, {0});
    const Matrix two = backend->allocate(2, 3, MatrixKind::kActivation);
    EXPECT_THROW(backend->gather_rows(step.get(), two, x), Error);
    EXPECT_THROW(backend->gather_rows(step.get(), x, two), Error);
    EXPECT_THROW(backend->rope(step.get(), two, 3, {}), Error);
    EXPECT_THROW(test::StepOfTokens(*backend, {0}, {0}, {1}), Error);
    EXPECT_THROW(test::StepOfTokens(*backend, {0, 0}, {0, 1}, {1, 0}), Error);
    EXPECT_THROW(test::StepOfTokens(*backend, {0}, {0, 1}), Error);
  }
}

// One hidden value and one inner one: expert e computes down · silu(gate · x) · up · x.
struct TinyExperts {
  explicit TinyExperts(Backend& backend)
      : gate(load(backend, gate_values)),
        up(load(backend, up_values)),
        down(load(backend, down_values)) {}
  static WeightPtr load(Backend& backend, const std::array<float, 4>& values) {
    std::vector<TensorView> views;
    for (const float& value : values) {
      views.push_back({&value, DType::kF32, 2, {1, 1}});
    }
    return backend.load_experts(views);
  }
  static float expert(int e, float x) {
    const float gate = gate_values[e] * x;
    return down_values[e] * gate / (1.0f + std::exp(-gate)) * up_values[e] * x;
  }

  static constexpr std::array<float, 4> gate_values{1, -1, 2, 0.5f};
  static constexpr std::array<float, 4> up_values{1, 2, 3, 4};
  static constexpr std::array<float, 4> down_values{10, 100, -10, 5};
  WeightPtr gate, up, down;
};

TEST(Moe, WeighsTheChosenExperts) {
  for (const char* name : {"cpu", "reference"}) {
    const auto backend = make_backend(name, {.threads = 1});
    const TinyExperts experts(*backend);
    EXPECT_EQ(experts.gate->rows(), 4);
    EXPECT_EQ(experts.gate->cols(), 1);
    const Matrix x = backend->allocate(1, 1, MatrixKind::kExact);
    const Matrix logits = backend->allocate(1, 4, MatrixKind::kExact);
    const Matrix residual = backend->allocate(1, 1, MatrixKind::kExact);
    // Experts 1, 2 and 3 share the second place: the first of them gets it.
    const float values[] = {std::log(3.0f), 0.0f, 0.0f, 0.0f};
    std::copy_n(values, 4, logits.values());
    const float p[] = {0.5f, 1.0f / 6.0f};
    for (bool normalize : {false, true}) {
      x.values()[0] = 1.5f;
      residual.values()[0] = 7.0f;
      backend->moe(x, logits, {experts.gate.get(), experts.up.get(), experts.down.get()},
                   {2, normalize}, residual);
      const float sum = normalize ? p[0] + p[1] : 1.0f;
      const float expected =
          7.0f + (p[0] * TinyExperts::expert(0, 1.5f) + p[1] * TinyExperts::expert(1, 1.5f)) / sum;
      EXPECT_NEAR(residual.values()[0], expected, 1e-5 * std::fabs(expected)) << name << normalize;
    }
  }
}

TEST(Moe, WhatDoesNotFitIsRefused) {
  const float values[8] = {};
  const TensorView wide{values, DType::kF32, 2, {1, 2}};
  const TensorView tall{values, DType::kF32, 2, {2, 1}};
  for (const char* name : {"cpu", "reference"}) {
    const auto backend = make_backend(name, {.threads = 1});
    const TinyExperts experts(*backend);
    const ExpertWeights w{experts.gate.get(), experts.up.get(), experts.down.get()};
    const Matrix x = backend->allocate(2, 1, MatrixKind::kExact);
    const Matrix logits = backend->allocate(2, 4, MatrixKind::kExact);
    const Matrix residual = backend->allocate(2, 1, MatrixKind::kExact);
    const auto refuse = [&](const char* message, Matrix router, ExpertWeights weights,
                            int64_t top_k, Matrix to) {
      EXPECT_ERROR(ErrorCode::kInvalidArgument, message,
                   backend->moe(x, router, weights, {top_k, true}, to));
    };
    refuse("5 of 4 experts", logits, w, 5, residual);
    refuse("0 of 4 experts", logits, w, 0, residual);
    refuse("2 tokens, router logits for 1", backend->allocate(1, 4, MatrixKind::kExact), w, 1,
           residual);
    refuse("3 experts of 1 x 1 are wanted", backend->allocate(2, 3, MatrixKind::kExact), w, 1,
           residual);
    refuse("shall be the same", logits, w, 1, backend->allocate(2, 2, MatrixKind::kExact));
    refuse("a weight is missing", logits, {w.gate, nullptr, w.down}, 1, residual);
    const TensorView two[] = {tall, tall};  // as many rows as four experts of one
    const WeightPtr other = backend->load_experts(two);
    refuse("a weight of 2 experts, not 4", logits, {other.get(), w.up, w.down}, 1, residual);
    const WeightPtr matrix = backend->load({values, DType::kF32, 2, {4, 1}});
    refuse("made by another backend", logits, {matrix.get(), w.up, w.down}, 1, residual);

    const TensorView mixed[] = {wide, tall};
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "differ in shape", backend->load_experts(mixed));
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "no expert", backend->load_experts({}));
    const TensorView whole[] = {{values, DType::kI32, 2, {2, 1}}};
    EXPECT_ERROR(ErrorCode::kUnsupported, "i32", backend->load_experts(whole));
  }
}

TEST(Contract, AWeightOfAnotherBackendIsRefused) {
  const float values[2] = {};
  const auto cpu = make_backend("cpu", {.threads = 1});
  const auto reference = make_backend("reference", {.threads = 1});
  const auto w = reference->load({values, DType::kF32, 1, {2}});
  const Matrix x = cpu->allocate(1, 2, MatrixKind::kActivation);
  EXPECT_THROW(cpu->rms_norm(x, *w, 0.0f, x), Error);
}

}  // namespace
}  // namespace hopskip
