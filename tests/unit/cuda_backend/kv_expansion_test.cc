// How prefill passes the scratch of an FP8 cache, without a GPU.
#include "kernels/cuda/backend/kv_expansion.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "kernels/cuda/backend/kv_storage.h"
#include "kernels/cuda/backend/step_memory.h"
#include "support/error_matchers.h"

namespace hopskip::cuda {
namespace {

constexpr int kPage = 64;

KvConfig fp8_config(int64_t num_pages, int64_t context) {
  KvConfig config;
  config.num_layers = 2;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.dtype = DType::kF8E4M3;
  config.num_pages = num_pages;
  config.context = context;
  return config;
}

TEST(ScratchPages, HoldTheLongestSequence) {
  EXPECT_EQ(scratch_pages(fp8_config(100, 129)), 3);
  EXPECT_EQ(scratch_pages(fp8_config(100, 64 * 1000)), 100);
  EXPECT_EQ(scratch_pages(fp8_config(100, 0)), 100);
  KvConfig bf16 = fp8_config(100, 129);
  bf16.dtype = DType::kBF16;
  EXPECT_EQ(scratch_pages(bf16), 0);
  EXPECT_EQ(bytes_for_pages(bf16, 12345), 12345);
}

// Pages and scratch together fill the memory, and one page more does not fit.
TEST(BytesForPages, LeaveTheScratchItsShare) {
  const int64_t scratch_page = int64_t{2} * 2 * 128 * kPage * 2;
  for (int64_t context : {int64_t{0}, int64_t{1}, int64_t{640}, int64_t{100000}}) {
    for (int64_t free : {int64_t{1} << 18, int64_t{1} << 22, int64_t{1} << 30}) {
      KvConfig config = fp8_config(0, context);
      const auto total = [&](int64_t pages) {
        config.num_pages = pages;
        return pages * config.bytes_per_page() + scratch_pages(config) * scratch_page;
      };
      const int64_t pages = bytes_for_pages(config, free) / config.bytes_per_page();
      EXPECT_LE(total(pages), free) << context << " in " << free;
      EXPECT_GT(total(pages + 1), free) << context << " in " << free;
    }
  }
}

struct Given {
  int64_t q_len, kv_len;
};

class Expansion {
 public:
  Expansion(const std::vector<Given>& given, int64_t scratch_pages) {
    int32_t next = 1000;
    for (const auto& [q_len, kv_len] : given) {
      tables_.emplace_back((kv_len - 1) / kPage + 3);  // longer than it has to be
      std::iota(tables_.back().begin(), tables_.back().end(), next);
      next += 1000;
      sequences_.push_back({.q_len = q_len, .kv_len = kv_len, .pages = tables_.back()});
    }
    plan_.emplace(sequences_, kPage, scratch_pages);
  }
  // The scratch after a run: the page of the cache that stands in each page, −1 for none.
  std::vector<int32_t> scratch(size_t run, int64_t window, int64_t span, size_t pages) const {
    std::vector<int32_t> scratch(pages, -1);
    for (const KvExpansion::Piece& piece : plan_->pieces(plan_->runs()[run], window, span)) {
      EXPECT_GT(piece.num_pages, 0);
      for (int64_t i = 0; i < piece.num_pages; ++i) {
        EXPECT_EQ(scratch.at(piece.scratch_page + i), -1);
        scratch.at(piece.scratch_page + i) = plan_->pages()[piece.first_entry + i];
      }
    }
    return scratch;
  }

  std::vector<std::vector<int32_t>> tables_;
  std::vector<PlannedSequence> sequences_;
  std::optional<KvExpansion> plan_;
};

TEST(KvExpansion, TakesAllAtOnceWhereTheyFit) {
  const Expansion e({{10, 130}, {64, 64}, {5, 65}}, 6);
  ASSERT_EQ(e.plan_->runs().size(), 1u);
  EXPECT_EQ(e.plan_->runs()[0].end, 3);
  EXPECT_EQ(e.scratch(0, 0, 128, 6), (std::vector<int32_t>{1000, 1001, 1002, 2000, 3000, 3001}));
  EXPECT_EQ(e.plan_->pieces(e.plan_->runs()[0], 0, 128).size(), 1u);
}

TEST(KvExpansion, EachSequenceFindsItsPages) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    const int64_t scratch_pages = 5 + random() % 20;
    std::vector<Given> given(1 + random() % 9);
    for (Given& g : given) {
      g.kv_len = 1 + random() % (scratch_pages * kPage);
      g.q_len = 1 + random() % g.kv_len;
    }
    const int64_t window = round % 2 == 0 ? 0 : 1 + random() % 300;
    const int64_t span = round % 3 == 0 ? 64 : 176;
    const Expansion e(given, scratch_pages);
    int64_t next = 0;
    for (size_t run = 0; run < e.plan_->runs().size(); ++run) {
      const auto [begin, end] = e.plan_->runs()[run];
      EXPECT_EQ(begin, next);
      EXPECT_GT(end, begin);
      next = end;
      const std::vector<int32_t> scratch = e.scratch(run, window, span, scratch_pages);
      for (int64_t i = begin; i < end; ++i) {
        const auto [q_len, kv_len] = given[i];
        const std::span<const int32_t> pages = e.sequences_[i].pages;
        ASSERT_EQ(std::ssize(pages), (kv_len - 1) / kPage + 1);
        // From the first key on that the first query sees, and the rest of its span.
        const int64_t first = window == 0 ? 0 : std::max<int64_t>(0, kv_len - q_len + 1 - window);
        for (int64_t key = first / span * span; key < kv_len; ++key) {
          ASSERT_EQ(scratch.at(pages[key / kPage]), e.tables_[i][key / kPage]) << "key " << key;
        }
      }
    }
    EXPECT_EQ(next, std::ssize(given));
  }
}

TEST(KvExpansion, LeavesOutWhatAWindowHides) {
  const Expansion e({{10, 1000}, {1000, 1000}}, 100);
  const auto pieces = e.plan_->pieces(e.plan_->runs()[0], 100, 128);
  ASSERT_EQ(pieces.size(), 1u);  // the second begins where the first ends
  // The first query of the first stands at 990 and sees keys from 891 on: tile 768, page 12.
  EXPECT_EQ(pieces[0].first_entry, 12);
  EXPECT_EQ(pieces[0].scratch_page, 12);
  EXPECT_EQ(pieces[0].num_pages, 4 + 16);
}

TEST(KvExpansion, RefusesWhatTheScratchCannotHold) {
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "a sequence of 129 keys in a KV storage for sequences",
               Expansion({{1, 128}, {1, 129}}, 2));
}

class FakeKv final : public KvStorage {
 public:
  explicit FakeKv(const KvConfig& config) : KvStorage(config) {}
};

TEST(CudaStepOverFp8, BringsThePagesOfPrefillAlong) {
  FakeKv kv(fp8_config(100, 128));
  const std::vector<int32_t> tokens(4);
  const std::vector<int32_t> a{3, 4}, b{9, 2}, c{7, 8};
  const std::vector<AttentionSequence> sequences{{0, 1, 65, a, Phase::kDecode},
                                                 {1, 2, 100, b, Phase::kPrefill},
                                                 {3, 1, 70, c, Phase::kPrefill}};
  const StepInputs inputs{tokens, tokens, sequences, {}, &kv, 4};
  const CudaStep step(inputs, StepLayout(inputs, 4, 0, 3), [] {});
  ASSERT_TRUE(step.expansion().has_value());
  EXPECT_EQ(step.runs().prefill.size(), 2u);
  ASSERT_EQ(step.runs().decode.size(), 1u);
  EXPECT_EQ(step.runs().decode[0].end, 1);
  EXPECT_EQ(step.planned().prefill[0].pages[0], 0);
  EXPECT_EQ(step.planned().prefill[1].pages[1], 1);
  EXPECT_EQ(step.planned().decode[0].pages.data(), a.data());  // decode reads the cache itself
  std::vector<std::byte> bytes(step.layout().input_bytes);
  step.write_inputs(bytes.data());
  const auto* pages = reinterpret_cast<const int32_t*>(bytes.data() + step.layout().pages);
  EXPECT_EQ(std::vector<int32_t>(pages, pages + 4), (std::vector<int32_t>{9, 2, 7, 8}));
  EXPECT_EQ(reinterpret_cast<const int64_t*>(bytes.data() + step.layout().slots)[1], 2 * 64 + 34);
}

TEST(CudaStepOverFp8, DecodesAsOverBf16) {
  FakeKv kv(fp8_config(100, 128));
  const std::vector<int32_t> tokens(1), pages{3, 4};
  const std::vector<AttentionSequence> sequences{{0, 1, 65, pages, Phase::kDecode}};
  const StepInputs inputs{tokens, tokens, sequences, {}, &kv, 4};
  const CudaStep step(inputs, StepLayout(inputs, 1, 0, 1), [] {});
  EXPECT_FALSE(step.expansion().has_value());
  EXPECT_TRUE(step.runs().prefill.empty());
  EXPECT_EQ(step.runs().decode.size(), 1u);
}

}  // namespace
}  // namespace hopskip::cuda
