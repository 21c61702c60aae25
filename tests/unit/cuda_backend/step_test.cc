// The host side of a step on the GPU: what is uploaded, without a GPU.
#include <gtest/gtest.h>

#include <cstring>

#include "kernels/cuda/backend/step_memory.h"
#include "support/error_matchers.h"

namespace hopskip::cuda {
namespace {

class FakeKv final : public KvStorage {
 public:
  FakeKv() : KvStorage({.num_layers = 2, .num_kv_heads = 1, .head_dim = 64, .num_pages = 100}) {}
};

template <typename T>
std::vector<T> values(const std::vector<std::byte>& bytes, size_t offset, int64_t count) {
  std::vector<T> result(count);
  std::memcpy(result.data(), bytes.data() + offset, count * sizeof(T));
  return result;
}

std::vector<std::byte> written(const CudaStep& step) {
  std::vector<std::byte> bytes(step.layout().input_bytes);
  step.write_inputs(bytes.data());
  return bytes;
}

TEST(DecodeBucket, IsTheNextOfAFewSizes) {
  int64_t previous = 0;
  int buckets = 0;
  for (int64_t n = 1; n <= 1024; ++n) {
    const int64_t bucket = decode_bucket(n);
    EXPECT_GE(bucket, n);
    EXPECT_LE(bucket - n, std::max<int64_t>(7, n / 4)) << n;
    EXPECT_GE(bucket, previous);
    EXPECT_EQ(decode_bucket(bucket), bucket);
    buckets += bucket != previous;
    previous = bucket;
  }
  EXPECT_LE(buckets, 40);
  EXPECT_EQ(decode_bucket(0), 0);
  EXPECT_EQ(decode_bucket(1025), 0);
}

TEST(CudaStep, WritesAMixedBatchWithPrefillFirst) {
  FakeKv kv;
  const std::vector<int32_t> tokens{5, 6, 7, 8, 9};
  const std::vector<int32_t> positions{64, 62, 63, 64, 10};
  const std::vector<int32_t> a{3, 4}, b{9, 2}, c{7};
  const std::vector<AttentionSequence> sequences{
      {0, 1, 65, a, Phase::kDecode, -1.0f},
      {1, 3, 65, b, Phase::kPrefill, -2.0f},
      {4, 1, 11, c, Phase::kDecode, -3.0f},
  };
  const std::vector<int64_t> rows{0, 3, 4};
  const StepInputs inputs{tokens, positions, sequences, rows, &kv, 4};
  bool abandoned = false;
  {
    const CudaStep step(inputs, StepLayout(inputs, 5, 3, 3), [&] { abandoned = true; });
    EXPECT_EQ(step.num_tokens(), 5);
    EXPECT_EQ(step.num_rows(), 3);
    EXPECT_EQ(step.layout().count_bytes, 2 * 3 * 4 * sizeof(SkipCounts));
    EXPECT_EQ(step.first(Phase::kPrefill), 0);
    EXPECT_EQ(step.first(Phase::kDecode), 1);
    ASSERT_EQ(step.planned().prefill.size(), 1u);
    ASSERT_EQ(step.planned().decode.size(), 2u);
    EXPECT_EQ(step.planned().prefill[0].q_begin, 1);
    EXPECT_EQ(step.planned().prefill[0].q_len, 3);
    EXPECT_EQ(step.planned().decode[1].q_begin, 4);
    EXPECT_EQ(step.planned().decode[1].kv_len, 11);
    EXPECT_EQ(step.planned().decode[1].pages.data(), c.data());

    const std::vector<std::byte> bytes = written(step);
    const StepLayout& layout = step.layout();
    EXPECT_EQ(values<int32_t>(bytes, layout.tokens, 5), tokens);
    EXPECT_EQ(values<int32_t>(bytes, layout.positions, 5), positions);
    EXPECT_EQ(values<int64_t>(bytes, layout.rows, 3), rows);
    EXPECT_EQ(values<int64_t>(bytes, layout.slots, 5),
              (std::vector<int64_t>{4 * 64, 9 * 64 + 62, 9 * 64 + 63, 2 * 64, 7 * 64 + 10}));
    EXPECT_EQ(values<float>(bytes, layout.thresholds, 3), (std::vector<float>{-2, -1, -3}));
    EXPECT_FALSE(abandoned);
  }
  EXPECT_TRUE(abandoned);  // it never ended
}

TEST(CudaStep, PaddingIsNotAppended) {
  FakeKv kv;
  const std::vector<int32_t> tokens{5, 6, 7}, positions{0, 1, 2};
  const std::vector<int32_t> pages[] = {{3}, {4}, {5}};
  std::vector<AttentionSequence> sequences;
  for (int64_t i = 0; i < 3; ++i) {
    sequences.push_back({i, 1, i + 1, pages[i], Phase::kDecode});
  }
  const std::vector<int64_t> rows{0, 1, 2};
  const StepInputs inputs{tokens, positions, sequences, rows, &kv, 1};
  const CudaStep step(inputs, StepLayout(inputs, 4, 4, 4), [] {});
  EXPECT_EQ(step.num_tokens(), 4);
  EXPECT_EQ(step.num_rows(), 4);
  const std::vector<std::byte> bytes = written(step);
  EXPECT_EQ(values<int32_t>(bytes, step.layout().tokens, 4), (std::vector<int32_t>{5, 6, 7, 0}));
  EXPECT_EQ(values<int32_t>(bytes, step.layout().positions, 4), (std::vector<int32_t>{0, 1, 2, 0}));
  EXPECT_EQ(values<int64_t>(bytes, step.layout().slots, 4),
            (std::vector<int64_t>{3 * 64, 4 * 64 + 1, 5 * 64 + 2, -1}));
}

// Steps of one graph have one layout, however many of the bucket are real.
TEST(CudaStep, TheLayoutFollowsFromTheBucket) {
  FakeKv kv;
  const auto layout = [&](int64_t sequences) {
    const std::vector<int32_t> tokens(sequences);
    return StepLayout({.tokens = tokens, .kv = &kv, .num_heads = 4}, 8, 8, 8);
  };
  const StepLayout five = layout(5), eight = layout(8);
  EXPECT_EQ(five.tokens, eight.tokens);
  EXPECT_EQ(five.thresholds, eight.thresholds);
  EXPECT_EQ(five.input_bytes, eight.input_bytes);
  EXPECT_EQ(five.count_bytes, eight.count_bytes);
}

TEST(CudaStep, DecodesOneTokenASequence) {
  FakeKv kv;
  const std::vector<int32_t> tokens(2), pages{0};
  const AttentionSequence sequence{0, 2, 2, pages, Phase::kDecode};
  const StepInputs inputs{tokens, tokens, {&sequence, 1}, {}, &kv, 1};
  EXPECT_ERROR(ErrorCode::kUnsupported, "a decode step of 2 tokens on a GPU",
               CudaStep(inputs, StepLayout(inputs, 2, 0, 1), [] {}));
}

}  // namespace
}  // namespace hopskip::cuda
