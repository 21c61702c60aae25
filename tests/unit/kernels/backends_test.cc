#include <gtest/gtest.h>

#include <cmath>
#include <string>

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
  if (backends().front().why_not({}).empty()) {
    EXPECT_EQ(backend->description().substr(0, 8), "cuda:0 (");
    return;
  }
  EXPECT_EQ(backend->description().substr(0, 5), "cpu (");
  EXPECT_NE(backend->description().find("2 threads"), std::string::npos);
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
