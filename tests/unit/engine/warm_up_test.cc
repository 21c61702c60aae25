#include "engine/warm_up.h"

#include <gtest/gtest.h>

#include "base/host_memory.h"
#include "kernels/reference/reference_backend.h"
#include "support/error_matchers.h"
#include "support/forwarding_backend.h"
#include "support/tiny_model.h"

namespace hopskip {
namespace {

// The reference, with a device's memory.
class DeviceBackend : public ForwardingBackend {
 public:
  DeviceBackend()
      : ForwardingBackend(std::make_unique<ReferenceBackend>(BackendOptions{.threads = 1})) {}
  int64_t memory_for_kv(const KvConfig&) const override { return memory; }
  std::unique_ptr<Step> begin_step(const StepInputs& inputs) override {
    largest_step = std::max(largest_step, std::ssize(inputs.tokens));
    return ForwardingBackend::begin_step(inputs);
  }

  int64_t memory = 0;
  int64_t largest_step = 0;
};

// K and V of 64 tokens of the tiny model.
constexpr int64_t kPageBytes = int64_t{2} * 2 * 2 * 8 * 64 * 2;

TEST(WarmUp, TheKvCacheTakesWhatALargeStepLeaves) {
  test::TinyModel model;
  DeviceBackend backend;
  backend.memory = 20 * kPageBytes;
  const Engine engine(model.checkpoint(), backend, {.chunk_tokens = 128, .max_sequences = 4});
  EXPECT_EQ(backend.largest_step, 128);
  EXPECT_EQ(engine.stats().kv_pages, 20);
}

TEST(WarmUp, NothingRunsWhereTheSizeIsKnown) {
  test::TinyModel model;
  DeviceBackend backend;
  EXPECT_EQ(Engine(model.checkpoint(), backend).stats().kv_pages, 16);
  backend.memory = 20 * kPageBytes;
  EXPECT_EQ(Engine(model.checkpoint(), backend, {.kv_tokens = 640}).stats().kv_pages, 10);
  EXPECT_EQ(backend.largest_step, 0);
}

// The reference, which takes memory for one page however many are asked for.
class OnePageBackend : public ForwardingBackend {
 public:
  OnePageBackend()
      : ForwardingBackend(std::make_unique<ReferenceBackend>(BackendOptions{.threads = 1})) {}
  HostBytes host_bytes(std::span<const TensorView> weights, const KvConfig& kv) const override {
    HostBytes bytes = ForwardingBackend::host_bytes(weights, kv);
    bytes.mapped += mapped;
    return bytes;
  }
  std::unique_ptr<KvStorage> make_kv_storage(const KvConfig& config) override {
    pages = config.num_pages;
    KvConfig small = config;
    small.num_pages = 1;
    return ForwardingBackend::make_kv_storage(small);
  }

  int64_t mapped = 0;
  int64_t pages = 0;
};

TEST(WarmUp, OnTheHostASizeThatIsGivenMustFitAndAnOpenOneIsWhatFits) {
  constexpr int64_t kContext = int64_t{1} << 36;  // 8.8 TB
  ModelConfig config = test::tiny_config();
  config.max_position = kContext;
  test::TinyModel model(config);
  OnePageBackend backend;
  for (const EngineOptions& given : {EngineOptions{.context = kContext}, {.kv_tokens = kContext}}) {
    EXPECT_ERROR(ErrorCode::kOutOfMemory, "a KV cache of 68719476736 tokens 8796.1 GB",
                 Engine(model.checkpoint(), backend, given));
  }
  EXPECT_EQ(backend.pages, 0);
  const Engine engine(model.checkpoint(), backend);
  const int64_t spare = spare_memory();  // may have changed in between, but not so much
  EXPECT_GT(backend.pages * kPageBytes, spare / 2);
  EXPECT_LT(backend.pages * kPageBytes / 2, spare);
  EXPECT_EQ(engine.notice(),
            "KV cache of 64 tokens: there is memory for no more of the context of 68719476736");
  EXPECT_EQ(Engine(model.checkpoint(), backend, {.context = 64}).notice(), "");
  backend.mapped = kContext * kPageBytes / 64;  // 8.8 TB, too
  EXPECT_GT(Engine(model.checkpoint(), backend).context(), 0);
  EXPECT_LT(backend.pages * kPageBytes, spare / 4);
}

}  // namespace
}  // namespace hopskip
