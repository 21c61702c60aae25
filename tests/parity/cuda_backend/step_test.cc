// Steps of the CUDA backend: attention of mixed batches, and graphs against direct launches.
#include <numeric>

#include "base/check.h"
#include "cases/attention_cases.h"
#include "kernels/reference/reference_backend.h"
#include "models/model.h"
#include "parity/cuda_backend/backend_support.h"
#include "support/error_matchers.h"
#include "support/tiny_model.h"

namespace hopskip::test {
namespace {

constexpr int64_t kPage = 64;
// Half of the stretches of so many keys score so much below the others …
constexpr int kStretch = 128;
constexpr float kColdNats = 20.0f;
// … that they are skipped at this threshold, which lies far above their weights.
constexpr float kSparse = -8.0f;

// A sequence whose keys up to kv_len − q_len are in the cache before the step.
struct Part {
  int64_t q_len, kv_len;
  Phase phase;
  float threshold_log2;
};

class CudaStepTest : public CudaBackendTest {
 protected:
  // Attention of one layer for the parts, after their contexts were appended. Rows of `backend`'s
  // output, and its counts.
  struct Result {
    std::vector<float> out;
    std::vector<SkipCounts> counts;
  };

  struct Data {
    std::vector<std::vector<float>> k, v;  // of each part: [kv_len][kv_heads · head_dim]
    std::vector<float> q;                  // [T][heads · head_dim]
    std::vector<std::vector<int32_t>> pages;
    int64_t num_pages = 0;
  };

  static AttentionShape shape(int window = 0) {
    AttentionShape shape;
    shape.num_heads = 8;
    shape.num_kv_heads = 2;
    shape.head_dim = 128;
    shape.scale = 1.0f / std::sqrt(128.0f);
    shape.window = window;
    return shape;
  }
  static KvConfig fp8() {
    KvConfig config;
    config.dtype = DType::kF8E4M3;
    return config;
  }
  static int64_t kv_cols() { return int64_t{shape().num_kv_heads} * shape().head_dim; }
  static int64_t q_cols() { return int64_t{shape().num_heads} * shape().head_dim; }

  Data make_data(const std::vector<Part>& parts) {
    Data data;
    for (const Part& part : parts) {
      AttentionData made = make_attention_data(
          part.q_len, part.kv_len, shape().num_heads, shape().num_kv_heads, shape().head_dim,
          shape().scale, kStretch, 0.5, kColdNats, random_, round_bf16);
      data.k.push_back(std::move(made.k));
      data.v.push_back(std::move(made.v));
      data.q.insert(data.q.end(), made.q.begin(), made.q.end());
      data.num_pages += (part.kv_len - 1) / kPage + 1;
    }
    std::vector<int32_t> order(data.num_pages);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, random_);
    auto next = order.begin();
    for (const Part& part : parts) {
      const int64_t count = (part.kv_len - 1) / kPage + 1;
      data.pages.emplace_back(next, next + count);
      next += count;
    }
    return data;
  }

  // on_gpu: matrices are uploaded, else they are the host's. Of kv the type, scales and context.
  Result run(Backend& backend, bool on_gpu, const std::vector<Part>& parts, const Data& data,
             KvConfig kv_config = {}, int window = 0) {
    const auto matrix = [&](std::span<const float> values, int64_t cols) {
      if (on_gpu) {
        return upload(backend, values, cols, MatrixKind::kActivation);
      }
      const Matrix x = backend.allocate(std::ssize(values) / cols, cols, MatrixKind::kActivation);
      std::ranges::copy(values, x.values());
      return x;
    };
    constexpr int kLayer = 1;
    kv_config.num_layers = 2;
    kv_config.num_kv_heads = shape().num_kv_heads;
    kv_config.head_dim = shape().head_dim;
    kv_config.page_size = kPage;
    kv_config.num_pages = data.num_pages;
    const auto kv = backend.make_kv_storage(kv_config);
    const auto begin_step = [&](const std::vector<AttentionSequence>& sequences,
                                const std::vector<int32_t>& tokens) {
      return backend.begin_step({.tokens = tokens,
                                 .positions = tokens,
                                 .sequences = sequences,
                                 .kv = kv.get(),
                                 .num_heads = shape().num_heads});
    };
    std::vector<AttentionSequence> sequences;
    std::vector<float> k, v;
    int64_t tokens = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const Part& part = parts[i];
      const int64_t context = part.kv_len - part.q_len;
      if (context > 0) {
        backend.reset_workspace();
        const std::vector<int32_t> ids(context);
        const std::vector<AttentionSequence> chunk{{0, context, context, data.pages[i]}};
        const auto step = begin_step(chunk, ids);
        backend.kv_append(*step, kLayer,
                          matrix(std::span(data.k[i]).first(context * kv_cols()), kv_cols()),
                          matrix(std::span(data.v[i]).first(context * kv_cols()), kv_cols()));
        backend.end_step(*step);
      }
      k.insert(k.end(), data.k[i].begin() + context * kv_cols(), data.k[i].end());
      v.insert(v.end(), data.v[i].begin() + context * kv_cols(), data.v[i].end());
      sequences.push_back(
          {tokens, part.q_len, part.kv_len, data.pages[i], part.phase, part.threshold_log2});
      tokens += part.q_len;
    }
    backend.reset_workspace();
    const std::vector<int32_t> ids(tokens);
    const auto step = begin_step(sequences, ids);
    backend.kv_append(*step, kLayer, matrix(k, kv_cols()), matrix(v, kv_cols()));
    const Matrix out = backend.allocate(tokens, q_cols(), MatrixKind::kActivation);
    backend.attention(*step, shape(window), kLayer, matrix(data.q, q_cols()), out);
    backend.end_step(*step);
    const auto counts = step->counts();
    return {
        on_gpu ? download(out) : std::vector<float>(out.values(), out.values() + tokens * q_cols()),
        {counts.begin(), counts.end()}};
  }

  // Each part on the GPU against the reference without skipping, over K and V of kv_config. `error`
  // is allowed where nothing is skipped.
  void expect_attention(const std::vector<Part>& parts, double error,
                        const KvConfig& kv_config = {}, int window = 0) {
    const Data data = make_data(parts);
    const Result got = run(*backend_, true, parts, data, kv_config, window);
    std::vector<Part> dense = parts;
    for (Part& part : dense) {
      part.threshold_log2 = kDenseThresholdLog2;
    }
    ReferenceBackend reference({});
    const Result want = run(reference, false, dense, data, kv_config, window);

    ASSERT_EQ(got.counts.size(), 2 * parts.size() * shape().num_heads);
    int64_t row = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      SCOPED_TRACE(fmt::format("sequence {} of {}", i, parts.size()));
      SkipCounts counts;
      for (int head = 0; head < shape().num_heads; ++head) {
        counts += got.counts[(parts.size() + i) * shape().num_heads + head];
        EXPECT_EQ(got.counts[i * shape().num_heads + head], SkipCounts{}) << "of a layer not run";
      }
      EXPECT_GT(counts.tiles, 0u);
      const auto rows = [&](const Result& result) {
        return std::span(result.out).subspan(row * q_cols(), parts[i].q_len * q_cols());
      };
      if (parts[i].threshold_log2 == kDenseThresholdLog2) {
        EXPECT_EQ(counts.skipped, 0u);
        EXPECT_LE(largest_error(rows(got), rows(want)), error);
      } else {
        EXPECT_GT(counts.skipped, 0u);
        EXPECT_LE(largest_error(rows(got), rows(want)), 0.1);
      }
      row += parts[i].q_len;
    }
  }

  static constexpr Phase kPrefill = Phase::kPrefill, kDecode = Phase::kDecode;
  static constexpr float kDense = kDenseThresholdLog2;
  // A rounding to bf16: 2^-9 of a value, which is below 5.
  static constexpr double kRounding = 5.0 / 512;
  // Prefill in chunks, decode and both in one step, with something to skip and without.
  static const std::vector<std::vector<Part>>& batches() {
    static const std::vector<std::vector<Part>> kBatches{
        {{1, 700, kDecode, kDense},
         {200, 900, kPrefill, kSparse},
         {1, 1500, kDecode, kSparse},
         {77, 77, kPrefill, kDense},
         {1, 1, kDecode, kDense}},
        {{300, 1000, kPrefill, kSparse}},
        {{300, 1000, kPrefill, kDense}},
        {{1, 640, kDecode, kSparse}, {1, 65, kDecode, kDense}}};
    return kBatches;
  }
};

TEST_F(CudaStepTest, MixedBatchesAttendEachInItsPhaseAndWithItsThreshold) {
  for (const std::vector<Part>& parts : batches()) {
    expect_attention(parts, 2.0 * 2.0 * kRounding);  // weights and results
  }
}

// The reference stores the same FP8 values, so that the bound is the one of bf16.
TEST_F(CudaStepTest, Fp8KeysAndValuesAreThoseOfTheReference) {
  for (const std::vector<Part>& parts : batches()) {
    expect_attention(parts, 2.0 * 2.0 * kRounding, fp8());
  }
}

// Scaled values are rounded to bf16 for prefill: one rounding more, and keys move scores by 0.01.
TEST_F(CudaStepTest, Fp8ScalesOfTheLayerAreApplied) {
  KvConfig config = fp8();
  config.scales = {{9.0f, 9.0f}, {0.3f, 0.011f}};
  for (const std::vector<Part>& parts : batches()) {
    expect_attention(parts, 2.0 * 4.0 * kRounding, config);
  }
}

// The scratch holds 16 pages: the prefill sequences take turns in it.
TEST_F(CudaStepTest, Fp8PrefillPassesASmallScratch) {
  KvConfig config = fp8();
  config.context = 1024;
  expect_attention({{100, 1000, kPrefill, kSparse},
                    {1, 700, kDecode, kDense},
                    {50, 300, kPrefill, kDense},
                    {64, 640, kPrefill, kDense},
                    {1, 1024, kPrefill, kDense},
                    {3, 3, kPrefill, kDense}},
                   2.0 * 2.0 * kRounding, config);
}

TEST_F(CudaStepTest, Fp8WindowsSeeWhatTheyShall) {
  for (int window : {1, 64, 200, 511}) {
    SCOPED_TRACE(fmt::format("window {}", window));
    expect_attention({{100, 1000, kPrefill, kDense},
                      {1, 900, kDecode, kDense},
                      {300, 300, kPrefill, kDense},
                      {33, 700, kPrefill, kDense}},
                     2.0 * 2.0 * kRounding, fp8(), window);
  }
}

ModelConfig model_config() {
  ModelConfig config = tiny_config();
  config.hidden_size = 128;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 64;
  config.intermediate_size = 192;
  config.qk_norm = true;
  config.qkv_bias = true;
  return config;
}

// Sequences of a tiny model that a backend decodes.
class Decoding {
 public:
  Decoding(Backend& backend, const Checkpoint& checkpoint, int64_t sequences, bool direct,
           DType kv_dtype = DType::kBF16)
      : backend_(backend), model_(load_model(checkpoint, backend)), direct_(direct) {
    const ModelConfig& config = checkpoint.config;
    kv_ = backend.make_kv_storage({.num_layers = static_cast<int>(config.num_layers),
                                   .num_kv_heads = static_cast<int>(config.num_kv_heads),
                                   .head_dim = static_cast<int>(config.head_dim),
                                   .dtype = kv_dtype,
                                   .page_size = kPage,
                                   .num_pages = sequences * kPagesEach});
    for (int64_t i = 0; i < sequences; ++i) {
      pages_.emplace_back(kPagesEach);
      std::iota(pages_.back().begin(), pages_.back().end(), static_cast<int32_t>(i * kPagesEach));
      lengths_.push_back(0);
    }
  }

  // Logits after the last token of each sequence; `tokens` are appended to the sequences.
  std::vector<float> step(const std::vector<std::vector<int32_t>>& tokens, Phase phase,
                          float threshold_log2 = kDenseThresholdLog2) {
    std::vector<int32_t> ids, positions;
    std::vector<AttentionSequence> sequences;
    std::vector<int64_t> rows;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const int64_t q_begin = std::ssize(ids);
      for (int32_t id : tokens[i]) {
        ids.push_back(id);
        positions.push_back(static_cast<int32_t>(lengths_[i]++));
      }
      sequences.push_back(
          {q_begin, std::ssize(tokens[i]), lengths_[i], pages_[i], phase, threshold_log2});
      rows.push_back(std::ssize(ids) - 1);
    }
    backend_.reset_workspace();
    const auto step = backend_.begin_step({.tokens = ids,
                                           .positions = positions,
                                           .sequences = sequences,
                                           .rows = rows,
                                           .kv = kv_.get(),
                                           .num_heads = static_cast<int>(config().num_heads),
                                           .reads_early = direct_});
    const Matrix hidden = model_->forward(*step);
    Matrix out = backend_.allocate(hidden.rows, config().vocab_size, MatrixKind::kExact);
    model_->logits(hidden, out);
    const Matrix best =
        backend_.allocate(out.rows, candidate_cols(kCandidates), MatrixKind::kExact);
    backend_.top_candidates(out, best);
    backend_.end_step(*step);
    const CandidateRows candidates = backend_.read_candidates(best.row_range(0, std::ssize(rows)));
    out.rows = std::ssize(rows);
    num_tokens_ = step->num_tokens();
    const auto logits = backend_.read(out);  // which leaves the candidates alone
    expect_candidates(candidates, logits);
    counts_.assign(step->counts().begin(), step->counts().end());
    return {logits.begin(), logits.end()};
  }

  int64_t num_tokens() const { return num_tokens_; }
  const std::vector<SkipCounts>& counts() const { return counts_; }

 private:
  static constexpr int64_t kPagesEach = 8;
  static constexpr int64_t kCandidates = 20;

  // They are those of these logits, of each row.
  void expect_candidates(const CandidateRows& found, std::span<const float> logits) const {
    const int64_t vocab = config().vocab_size;
    ASSERT_EQ(found.rows() * vocab, std::ssize(logits));
    for (int64_t row = 0; row < found.rows(); ++row) {
      std::vector<Candidate> want;
      double sum = 0.0;
      for (float logit : logits.subspan(row * vocab, vocab)) {
        want.push_back({static_cast<int32_t>(std::ssize(want)), logit});
        sum += std::exp(double{logit});
      }
      std::ranges::sort(want, before);
      sum /= std::exp(double{want.front().logit});
      EXPECT_NEAR(found[row].sum_exp, sum, kSumExpError * sum) << "row " << row;
      for (int64_t i = 0; i < kCandidates; ++i) {
        EXPECT_EQ(found[row].top[i].id, want[i].id) << "row " << row << ", place " << i;
        EXPECT_EQ(found[row].top[i].logit, want[i].logit);
      }
    }
  }
  const ModelConfig& config() const { return model_->config(); }

  Backend& backend_;
  std::unique_ptr<Model> model_;
  bool direct_;
  std::unique_ptr<KvStorage> kv_;
  std::vector<std::vector<int32_t>> pages_;
  std::vector<int64_t> lengths_;
  int64_t num_tokens_ = 0;
  std::vector<SkipCounts> counts_;
};

// The first step of a size runs directly, the second is captured, the others are replayed, while
// keys grow over page edges, thresholds change and prefills come between.
TEST_F(CudaStepTest, ReplayedStepsEqualDirectOnes) {
  for (const auto& [sequences, kv_dtype] : {std::pair<int64_t, DType>{1, DType::kBF16},
                                            {2, DType::kBF16},
                                            {3, DType::kBF16},
                                            {8, DType::kBF16},
                                            {13, DType::kBF16},
                                            {1, DType::kF8E4M3},
                                            {3, DType::kF8E4M3},
                                            {8, DType::kF8E4M3}}) {
    SCOPED_TRACE(fmt::format("{} sequences in {}", sequences, dtype_name(kv_dtype)));
    TinyModel model(model_config());
    const auto other_backend = make_cuda_backend({});
    Decoding replayed(*backend_, model.checkpoint(), sequences, false, kv_dtype);
    Decoding direct(*other_backend, model.checkpoint(), sequences, true, kv_dtype);
    std::uniform_int_distribution<int32_t> token(0, 47);
    const auto tokens = [&](int64_t count) {
      std::vector<std::vector<int32_t>> result(sequences);
      for (std::vector<int32_t>& ids : result) {
        ids.resize(count);
        std::ranges::generate(ids, [&] { return token(random_); });
      }
      return result;
    };
    for (int step = 0; step < 16; ++step) {
      const bool prefills = step == 0 || step == 9;
      const auto ids = tokens(prefills ? 60 : 1);
      const Phase phase = prefills ? Phase::kPrefill : Phase::kDecode;
      const float threshold = step % 3 == 2 ? -1.0f : kDenseThresholdLog2;
      const std::vector<float> got = replayed.step(ids, phase, threshold);
      const std::vector<float> want = direct.step(ids, phase, threshold);
      if (prefills || replayed.num_tokens() == sequences) {
        EXPECT_EQ(got, want) << "step " << step;
        EXPECT_EQ(replayed.counts(), direct.counts()) << "step " << step;
      } else {  // padded: products may be summed in another order
        const std::vector<float> zero(want.size());
        EXPECT_LE(rms_error(got, want), 0.03 * rms_error(want, zero)) << "step " << step;
      }
    }
    EXPECT_GE(replayed.num_tokens(), sequences);
    EXPECT_EQ(direct.num_tokens(), sequences);
  }
}

TEST_F(CudaStepTest, AStepThatIsGivenUpLeavesNothingBehind) {
  TinyModel model(model_config());
  Decoding decoding(*backend_, model.checkpoint(), 2, false);
  const std::vector<std::vector<int32_t>> prompt{{1, 2, 3}, {4, 5, 6}};
  const std::vector<std::vector<int32_t>> next{{7}, {8}};
  decoding.step(prompt, Phase::kPrefill);
  decoding.step(next, Phase::kDecode);  // directly; the next one would be captured
  {
    const auto kv = backend_->make_kv_storage(
        {.num_layers = 1, .num_kv_heads = 1, .head_dim = 64, .num_pages = 1});
    const int32_t id = 0;
    const int64_t row = 0;
    const AttentionSequence sequence{0, 1, 1, {&id, 1}, Phase::kDecode};
    const StepInputs inputs{.tokens = {&id, 1},
                            .positions = {&id, 1},
                            .sequences = {&sequence, 1},
                            .rows = {&row, 1},
                            .kv = kv.get(),
                            .num_heads = 1};
    backend_->end_step(*backend_->begin_step(inputs));
    const auto given_up = backend_->begin_step(inputs);  // captures
    const Matrix x = backend_->allocate(1, 64, MatrixKind::kExact);
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "reads_early", backend_->read(x));
  }
  const std::vector<float> captured = decoding.step(next, Phase::kDecode);
  for (float logit : captured) {
    EXPECT_TRUE(std::isfinite(logit));
  }
}

TEST_F(CudaStepTest, ReadsCandidatesOfRowsThatHoldAnything) {
  constexpr int64_t kVocab = 1003;
  std::vector<float> values = normal_values(3 * kVocab, random_);
  values[kVocab + 500] = std::nanf("");
  const Matrix logits = upload(*backend_, values, kVocab, MatrixKind::kExact);
  const Matrix best = backend_->allocate(3, candidate_cols(kMostCandidates), MatrixKind::kExact);
  backend_->top_candidates(logits, best);
  const CandidateRows rows = backend_->read_candidates(best);
  ASSERT_EQ(rows.rows(), 3);
  EXPECT_TRUE(std::isnan(rows[1].sum_exp));
  for (int64_t row : {0, 2}) {
    const auto of_row = std::span(values).subspan(row * kVocab, kVocab);
    EXPECT_GE(rows[row].sum_exp, 1.0f);
    EXPECT_EQ(rows[row].top.front().logit, *std::ranges::max_element(of_row));
    for (const Candidate& candidate : rows[row].top) {
      EXPECT_EQ(candidate.logit, of_row[candidate.id]);
    }
  }
  EXPECT_ERROR(
      ErrorCode::kUnsupported, "a vocabulary of",
      backend_->top_candidates(backend_->allocate(1, (1 << 20) + 1, MatrixKind::kExact),
                               backend_->allocate(1, candidate_cols(1), MatrixKind::kExact)));
}

TEST_F(CudaStepTest, SaysWhatItCannotDo) {
  EXPECT_ERROR(ErrorCode::kUnsupported, "a KV cache in f16",
               backend_->make_kv_storage({1, 1, 64, DType::kF16, 64, 1}));
  EXPECT_ERROR(ErrorCode::kUnsupported, "head_dim 40",
               backend_->make_kv_storage({1, 1, 40, DType::kBF16, 64, 1}));
  EXPECT_ERROR(ErrorCode::kUnsupported, "a KV cache in f16",
               backend_->check_kv({1, 1, 64, DType::kF16, 64, 1}));
  EXPECT_ERROR(ErrorCode::kUnsupported, "head_dim 40",
               backend_->check_kv({1, 1, 40, DType::kBF16, 64, 1}));
  backend_->check_kv({1, 1, 64, DType::kF8E4M3, 64, 1'000'000'000});  // asks, and takes nothing
  AttentionShape capped = shape();
  capped.softcap = 30.0f;
  EXPECT_ERROR(ErrorCode::kUnsupported, "soft-cap",
               backend_->tile_plan(Phase::kDecode, capped, DType::kBF16));
  KvConfig config = fp8();
  config.num_layers = 1;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.context = 1 << 17;
  const int64_t of_fp8 = backend_->memory_for_kv(config);
  config.dtype = DType::kBF16;
  EXPECT_GT(of_fp8, 0);
  EXPECT_GT(backend_->memory_for_kv(config), of_fp8);  // there is a scratch
  config.dtype = DType::kF8E4M3;
  config.num_pages = 2;
  config.context = 64;
  const auto kv = backend_->make_kv_storage(config);
  const std::vector<int32_t> tokens(65), pages{0, 1};
  const AttentionSequence sequence{0, 65, 65, pages};
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "a sequence of 65 keys in a KV storage",
               backend_->begin_step({.tokens = tokens,
                                     .positions = tokens,
                                     .sequences = {&sequence, 1},
                                     .kv = kv.get(),
                                     .num_heads = 8}));
}

}  // namespace
}  // namespace hopskip::test
