// Random schedules on every backend: whatever arrives, is cancelled, preempted, chunked or found in
// the prefix cache beside a request, its logits are those it gets alone, and no page is lost.
//
// On a backend that rounds, a product may be summed in another order in a larger batch, and a near
// tie of two logits then falls the other way. Hence the next token is given (teacher forcing: a
// function of token and position, so that a request's tokens are the same in every schedule), and
// what is compared is every logit of every token. The yardstick is measured: what the reference
// loses when its weights and activations are rounded to BF16.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <numbers>
#include <random>

#include "engine/engine.h"
#include "kernels/cuda/backend/entry.h"
#include "support/rounding_backend.h"
#include "support/teacher_forcing.h"
#include "support/tiny_model.h"

namespace hopskip::test {
namespace {

using Tokens = std::vector<int32_t>;
using Logits = std::vector<std::vector<float>>;  // of each generated token: [vocab]

constexpr int32_t kVocab = 48;
constexpr int kRequests = 48;     // that schedules choose from
constexpr int64_t kMostNew = 90;  // tokens that a request generates
constexpr int64_t kMostPrompt = 190;

struct Case {
  const char* backend;
  int engines;    // each with settings of its own …
  int schedules;  // … and so many bursts of requests, one after the other
  bool exact;     // batches change nothing, not even the last bit
  int checked;    // one request of so many is compared with the reference, which takes its time
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.backend; }

int32_t next_token(int32_t token, int64_t position) {
  uint64_t x = static_cast<uint64_t>(token) * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(position);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return static_cast<int32_t>((x >> 33) % kVocab);
}

// Another key or position shows in the logits; sizes that every attention kernel has.
ModelConfig model_config() {
  ModelConfig config = tiny_config();
  config.hidden_size = 64;
  config.head_dim = 64;
  config.intermediate_size = 96;
  config.qk_norm = true;
  config.qkv_bias = true;
  config.vocab_size = kVocab;
  return config;
}

Request request_of(const Tokens& prompt, int64_t new_tokens) {
  Request request;
  request.prompt = prompt;
  request.max_new_tokens = new_tokens;
  request.sampling.temperature = 0.0;
  return request;
}

// HOPSKIP_TEST_SEED repeats a run.
uint64_t seed() {
  const char* given = std::getenv("HOPSKIP_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

// How far logits lie apart.
struct Difference {
  double squares = 0.0;
  int64_t count = 0;
  double largest = 0.0;

  void add(std::span<const float> a, std::span<const float> b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      const double d = std::abs(double{a[i]} - double{b[i]});
      ASSERT_TRUE(std::isfinite(d));
      squares += d * d;
      largest = std::max(largest, d);
    }
    count += std::ssize(a);
  }
  double rms() const {
    return std::sqrt(squares / static_cast<double>(std::max<int64_t>(1, count)));
  }
};

class Schedules : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (std::string(GetParam().backend) == "cuda" && !why_no_cuda_backend({}).empty()) {
      GTEST_SKIP() << "no GPU";
    }
    fmt::print("  seed {}\n", seed_);
    backend_ = std::make_unique<TeacherForcing>(make_backend(GetParam().backend, {.threads = 1}),
                                                next_token);
    Tokens common(kMostPrompt - 40);
    std::ranges::generate(common, [&] { return token(); });
    for (int i = 0; i < kRequests; ++i) {  // most share a prefix of some length
      Tokens prompt(common.begin(), common.begin() + below(happens(0.5) ? 60 : std::ssize(common)));
      for (int64_t tail = 1 + below(40); tail > 0; --tail) {
        prompt.push_back(token());
      }
      prompts_.push_back(std::move(prompt));
    }
    std::ranges::sort(prompts_, {}, &Tokens::size);
  }

  int64_t below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random_);
  }
  int32_t token() { return static_cast<int32_t>(below(kVocab)); }
  bool happens(double probability) { return std::bernoulli_distribution(probability)(random_); }

  // From one prefill over prompt and forced tokens, which needs no decode step.
  Logits in_one_prefill(Backend& backend, const Tokens& prompt) {
    Tokens all = prompt;
    while (std::ssize(all) < std::ssize(prompt) + kMostNew - 1) {
      all.push_back(next_token(all.back(), std::ssize(all) - 1));
    }
    Engine engine(model_.checkpoint(), backend, {.prefix_reuse = false});
    Logits logits;
    Request request = request_of(all, 0);
    request.on_prompt_logits = [&](const PromptLogits& block) {
      for (int64_t row = 0; row < block.rows; ++row) {
        if (block.begin + row >= std::ssize(prompt) - 1) {
          const auto values = block.logits.subspan(row * kVocab, kVocab);
          logits.emplace_back(values.begin(), values.end());
        }
      }
    };
    engine.add(std::move(request));
    while (!engine.idle()) {
      engine.step();
    }
    EXPECT_EQ(std::ssize(logits), kMostNew);
    return logits;
  }

  const uint64_t seed_ = seed();
  std::mt19937_64 random_{seed_};
  TinyModel model_{model_config(), static_cast<uint32_t>(seed_)};
  std::unique_ptr<TeacherForcing> backend_;
  std::vector<Tokens> prompts_;
};

// What happened in all schedules together: each kind of event has to.
struct Tally {
  int64_t schedules = 0, steps = 0, tokens = 0, cancelled = 0, preemptions = 0, reused = 0;
  int64_t mixed_steps = 0, largest_batch = 0;
  int64_t near_ties = 0;  // tokens whose arg max differs from that of the request alone
  Difference apart;
};

// One engine, and what runs in it.
class Runner {
 public:
  Runner(Engine& engine, TeacherForcing& backend, Tally& tally)
      : engine_(engine), backend_(backend), tally_(tally) {}

  void add(int which, const Tokens& prompt, int64_t new_tokens) {
    running_[engine_.add(request_of(prompt, new_tokens))] = {which, new_tokens, 0};
  }
  bool idle() const { return engine_.idle(); }
  void cancel_one(int64_t number) {
    if (!running_.empty()) {
      auto chosen = running_.begin();
      std::advance(chosen, number % std::ssize(running_));
      ASSERT_TRUE(engine_.cancel(chosen->first));
      running_.erase(chosen);
      ++tally_.cancelled;
    }
  }

  // A step. found(which, number, logits): of each token that a request got.
  template <typename Found>
  void step(Found found) {
    const int64_t prompt_tokens = engine_.stats().prompt_tokens;
    const std::span<const Event> events = engine_.step();
    const std::vector<LogitRow> rows = backend_.take_rows();
    size_t row = 0;
    for (const Event& event : events) {
      ASSERT_EQ(event.error, "");
      if (!event.token) {
        continue;
      }
      ASSERT_LT(row, rows.size());
      const LogitRow& logits = rows[row++];
      Running& running = running_.at(event.id);
      ASSERT_EQ(event.token->id, next_token(logits.token, logits.position));
      found(running.which, running.given++, std::span<const float>(logits.logits));
      if (event.finish) {
        ASSERT_EQ(*event.finish, FinishReason::kLength);
        ASSERT_EQ(running.given, running.wanted);
        running_.erase(event.id);
      }
    }
    ASSERT_EQ(row, rows.size());
    ++tally_.steps;
    tally_.tokens += std::ssize(rows);
    tally_.largest_batch = std::max(tally_.largest_batch, std::ssize(rows));
    tally_.mixed_steps += !rows.empty() && engine_.stats().prompt_tokens > prompt_tokens;
  }

 private:
  struct Running {
    int which;
    int64_t wanted, given;
  };
  Engine& engine_;
  TeacherForcing& backend_;
  Tally& tally_;
  std::map<RequestId, Running> running_;
};

int32_t arg_max(std::span<const float> x) {
  return static_cast<int32_t>(std::ranges::max_element(x) - x.begin());
}

TEST_P(Schedules, GiveEachRequestTheLogitsItGetsAlone) {
  const auto start = std::chrono::steady_clock::now();
  // Each alone, against the reference: at most twice what rounding to BF16 costs that one.
  const auto reference = make_backend("reference", {.threads = 1});
  RoundingBackend rounding(make_backend("reference", {.threads = 1}));
  Difference naive, off;
  std::vector<Logits> alone(kRequests);
  {
    Tally ignored;
    Engine engine(model_.checkpoint(), *backend_, {.prefix_reuse = false});
    Runner runner(engine, *backend_, ignored);
    for (int i = 0; i < kRequests; ++i) {
      runner.add(i, prompts_[i], kMostNew);
      while (!runner.idle()) {
        runner.step([&](int which, int64_t, std::span<const float> logits) {
          alone[which].emplace_back(logits.begin(), logits.end());
        });
        ASSERT_FALSE(HasFatalFailure());
      }
      if (i % GetParam().checked == 0) {
        const Logits want = in_one_prefill(*reference, prompts_[i]);
        const Logits rounded = in_one_prefill(rounding, prompts_[i]);
        for (int64_t k = 0; k < kMostNew; ++k) {
          naive.add(rounded[k], want[k]);
          off.add(alone[i][k], want[k]);
        }
      }
    }
  }
  EXPECT_LE(off.rms(), 2.0 * naive.rms()) << "alone";
  // A batch may take other kernels than a request alone: two computations, independent of each
  // other, whose errors add as squares. Each may be off by twice the naive one's largest error; on
  // average they are to be no worse than the naive one.
  const double allowed = GetParam().exact ? 0.0 : 2.0 * std::numbers::sqrt2 * naive.largest;
  const double allowed_rms = GetParam().exact ? 0.0 : std::numbers::sqrt2 * naive.rms();

  Tally tally;
  for (int e = 0; e < GetParam().engines; ++e) {
    EngineOptions options;
    options.max_sequences = static_cast<int>(e % 2 == 1 ? 1 + below(6) : 8 + below(33));
    options.chunk_tokens = options.max_sequences + below(200);
    // Pages for one request, a few, or all.
    const int64_t more_pages = e % 4 == 0 ? 2 + below(5) : e % 4 == 2 ? 60 : below(6);
    options.kv_tokens = kMostPrompt + kMostNew + 64 * more_pages;
    options.prefix_reuse = e % 3 != 0;
    SCOPED_TRACE(fmt::format("max_sequences {}, chunk_tokens {}, kv_tokens {}, prefix_reuse {}",
                             options.max_sequences, options.chunk_tokens, options.kv_tokens,
                             options.prefix_reuse));
    Engine engine(model_.checkpoint(), *backend_, options);
    Runner runner(engine, *backend_, tally);
    for (int s = 0; s < GetParam().schedules; ++s) {
      // Short prompts with long outputs, at once: many start, and the pages do not last.
      const bool crowds = s == 0 || happens(0.2);
      int64_t to_come = crowds ? 16 : 1 + below(16);
      const double arrival = 0.1 + 0.9 * std::uniform_real_distribution<>()(random_);
      const double cancellation = s > 0 && happens(0.3) ? 0.1 : 0.0;
      const int64_t most_new = happens(0.6) ? kMostNew : 12;
      while (to_come > 0 || !runner.idle()) {
        while (to_come > 0 && (crowds || happens(arrival))) {
          const int which = static_cast<int>(below(crowds ? kRequests / 4 : kRequests));
          runner.add(which, prompts_[which], crowds ? kMostNew : 1 + below(most_new));
          --to_come;
        }
        if (happens(cancellation)) {
          runner.cancel_one(below(kRequests));
        }
        runner.step([&](int which, int64_t number, std::span<const float> logits) {
          const std::vector<float>& want = alone[which][number];
          Difference apart;
          apart.add(logits, want);
          tally.apart.add(logits, want);
          ASSERT_LE(apart.largest, allowed)
              << "engine " << e << ", schedule " << s << ", request " << which << ", token "
              << number << " of prompt " << prompts_[which].size();
          tally.near_ties += arg_max(logits) != arg_max(want);
        });
        ASSERT_FALSE(HasFatalFailure());
      }
      ++tally.schedules;
      ASSERT_EQ(engine.stats().kv_pages_in_use, 0) << "engine " << e << ", schedule " << s;
      ASSERT_EQ(engine.stats().running + engine.stats().waiting, 0);
    }
    tally.preemptions += engine.stats().preemptions;
    tally.reused += engine.stats().reused_tokens;
  }
  EXPECT_LE(tally.apart.rms(), allowed_rms);
  EXPECT_GT(tally.mixed_steps, 0);
  if (tally.schedules >= 50) {  // in few schedules some may not come up
    EXPECT_GT(tally.cancelled, 0);
    EXPECT_GT(tally.preemptions, 0);
    EXPECT_GT(tally.reused, 0);
    EXPECT_GE(tally.largest_batch, 8);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  fmt::print(
      "  {}: {} schedules in {:.1f} s: {} steps ({} mixed), {} tokens, batches up to {}, {} "
      "cancelled, {} preempted, {} prompt tokens reused\n",
      backend_->description(), tally.schedules, seconds.count(), tally.steps, tally.mixed_steps,
      tally.tokens, tally.largest_batch, tally.cancelled, tally.preemptions, tally.reused);
  fmt::print(
      "  logits, rms (largest): rounding costs {:.3g} ({:.3g}), alone {:.3g} ({:.3g}), schedules "
      "from alone {:.3g} ({:.3g}, allowed {:.3g}); {} near ties fell the other way\n",
      naive.rms(), naive.largest, off.rms(), off.largest, tally.apart.rms(), tally.apart.largest,
      allowed, tally.near_ties);
}

INSTANTIATE_TEST_SUITE_P(Backends, Schedules,
                         testing::Values(Case{"reference", 5, 2, true, 8},
                                         Case{"cpu", 12, 6, false, 4},
                                         Case{"cuda", 40, 25, false, 1}),
                         [](const auto& info) { return std::string(info.param.backend); });

}  // namespace
}  // namespace hopskip::test
