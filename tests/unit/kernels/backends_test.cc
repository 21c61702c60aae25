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
  EXPECT_EQ(backend->description().substr(0, 5), "cpu (");
  EXPECT_NE(backend->description().find("2 threads"), std::string::npos);
}

TEST(Backends, UnknownNameListsThePossible) {
  const std::string message = message_of("tpu", {});
  EXPECT_NE(message.find("cpu"), std::string::npos) << message;
  EXPECT_NE(message.find("reference"), std::string::npos) << message;
}

TEST(Backends, AnInstructionSetIsNeverIgnored) {
  for (const char* name : {"cpu", "auto"}) {
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "unknown instruction set 'mmx'",
                 make_backend(name, {.simd = "mmx"}));
  }
  const std::string message = message_of("reference", {.simd = "avx2"});
  EXPECT_NE(message.find("'avx2' is for the cpu"), std::string::npos) << message;
}

TEST(HostWorkspace, MatricesAreApartAndMemoryIsReused) {
  HostWorkspace workspace;
  const Matrix a = workspace.allocate(3, 5);
  const Matrix b = workspace.allocate(1, 1);
  EXPECT_GE(b.data, a.data + 15);
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
}

TEST(ReferenceBackend, ComputesWhatAHandDoes) {
  const auto backend = make_backend("reference");
  const float w_values[] = {1, 2, 3, 4, 5, 6};  // [3, 2]
  const float bias_values[] = {10, 20, 30};
  const auto w = backend->load({w_values, DType::kF32, 2, {3, 2}});
  const auto bias = backend->load({bias_values, DType::kF32, 1, {3}});
  Matrix x = backend->allocate(1, 2);
  Matrix y = backend->allocate(1, 3);
  x.data[0] = 3;
  x.data[1] = 4;
  const LinearTerm term{w.get(), bias.get(), y, false};
  backend->linear(x, {&term, 1});
  EXPECT_EQ(std::vector<float>(y.data, y.data + 3), (std::vector<float>{21, 45, 69}));

  const float ones[] = {1, 2};
  backend->rms_norm(x, *backend->load({ones, DType::kF32, 1, {2}}), 0.0f, x);
  EXPECT_FLOAT_EQ(x.data[0], 3 / std::sqrt(12.5f));
  EXPECT_FLOAT_EQ(x.data[1], 8 / std::sqrt(12.5f));

  x.data[0] = 1;
  x.data[1] = 0;
  const int32_t position[] = {2};
  backend->rope(x, 2, position, {.inv_freq = {0.25f}});
  EXPECT_FLOAT_EQ(x.data[0], std::cos(0.5f));
  EXPECT_FLOAT_EQ(x.data[1], std::sin(0.5f));
}

TEST(Contract, ShapesThatDoNotFitAreRefused) {
  const float values[6] = {};
  for (const char* name : {"cpu", "reference"}) {
    const auto backend = make_backend(name, {.threads = 1});
    const auto w = backend->load({values, DType::kF32, 2, {3, 2}});
    const Matrix x = backend->allocate(1, 3);
    const LinearTerm term{w.get(), nullptr, backend->allocate(1, 3), false};
    EXPECT_THROW(backend->linear(x, {&term, 1}), Error);
    EXPECT_THROW(backend->load({values, DType::kI32, 1, {6}}), Error);
    EXPECT_THROW(backend->load({values, DType::kQ4_0, 2, {1, 6}}), Error);
    EXPECT_THROW(backend->rms_norm(x, *w, 0.0f, backend->allocate(1, 2)), Error);
    const int64_t rows[] = {1};
    EXPECT_THROW(backend->gather_rows(x, rows, x), Error);
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
    const Matrix x = backend->allocate(1, 1);
    const Matrix logits = backend->allocate(1, 4);
    const Matrix residual = backend->allocate(1, 1);
    // Experts 1, 2 and 3 share the second place: the first of them gets it.
    const float values[] = {std::log(3.0f), 0.0f, 0.0f, 0.0f};
    std::copy_n(values, 4, logits.data);
    const float p[] = {0.5f, 1.0f / 6.0f};
    for (bool normalize : {false, true}) {
      x.data[0] = 1.5f;
      residual.data[0] = 7.0f;
      backend->moe(x, logits, {experts.gate.get(), experts.up.get(), experts.down.get()},
                   {2, normalize}, residual);
      const float sum = normalize ? p[0] + p[1] : 1.0f;
      const float expected =
          7.0f + (p[0] * TinyExperts::expert(0, 1.5f) + p[1] * TinyExperts::expert(1, 1.5f)) / sum;
      EXPECT_NEAR(residual.data[0], expected, 1e-5 * std::fabs(expected)) << name << normalize;
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
    const Matrix x = backend->allocate(2, 1);
    const Matrix logits = backend->allocate(2, 4);
    const Matrix residual = backend->allocate(2, 1);
    const auto refuse = [&](const char* message, Matrix router, ExpertWeights weights,
                            int64_t top_k, Matrix to) {
      EXPECT_ERROR(ErrorCode::kInvalidArgument, message,
                   backend->moe(x, router, weights, {top_k, true}, to));
    };
    refuse("5 of 4 experts", logits, w, 5, residual);
    refuse("0 of 4 experts", logits, w, 0, residual);
    refuse("2 tokens, router logits for 1", backend->allocate(1, 4), w, 1, residual);
    refuse("3 experts of 1 x 1 are wanted", backend->allocate(2, 3), w, 1, residual);
    refuse("shall be the same", logits, w, 1, backend->allocate(2, 2));
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
  const Matrix x = cpu->allocate(1, 2);
  EXPECT_THROW(cpu->rms_norm(x, *w, 0.0f, x), Error);
}

}  // namespace
}  // namespace hopskip
