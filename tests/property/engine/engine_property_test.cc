// Batching, chunking, preemption and prefix reuse are invisible: dense and on the reference
// backend, a request's greedy tokens are those it gets alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

#include "engine/engine.h"
#include "support/tiny_model.h"

namespace hopskip {
namespace {

using Tokens = std::vector<int32_t>;

Request greedy(Tokens prompt, int64_t max_new_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_new_tokens = max_new_tokens;
  request.sampling.temperature = 0.0;
  return request;
}

// Requests of which most share a prefix of some length; up to three pages long.
std::vector<Request> random_requests(std::mt19937& random, int count) {
  std::uniform_int_distribution<int32_t> token(0, 47);
  Tokens common(192);
  std::ranges::generate(common, [&] { return token(random); });
  std::vector<Request> requests;
  for (int i = 0; i < count; ++i) {
    Tokens prompt(common.begin(), common.begin() + std::uniform_int_distribution(0, 150)(random));
    const int tail = std::uniform_int_distribution(1, 40)(random);
    for (int k = 0; k < tail; ++k) {
      prompt.push_back(token(random));
    }
    requests.push_back(greedy(prompt, std::uniform_int_distribution(1, 140)(random)));
  }
  return requests;
}

class EngineProperty : public testing::Test {
 protected:
  Tokens alone(const Request& request) {
    Engine engine(model_.checkpoint(), *backend_, {.prefix_reuse = false});
    engine.add(request);
    Tokens tokens;
    while (!engine.idle()) {
      for (const Event& event : engine.step()) {
        tokens.push_back(event.token->id);
      }
    }
    return tokens;
  }

  test::TinyModel model_;
  std::unique_ptr<Backend> backend_ = make_backend("reference", {.threads = 1});
};

TEST_F(EngineProperty, TokensDoNotDependOnWhatRunsBeside) {
  std::mt19937 random(3);
  const std::vector<Request> requests = random_requests(random, 24);
  std::vector<Tokens> expected;
  for (const Request& request : requests) {
    expected.push_back(alone(request));
  }
  int64_t preemptions = 0;
  int64_t reused = 0;
  for (int round = 0; round < 8; ++round) {
    EngineOptions options;
    options.max_sequences = std::uniform_int_distribution(1, 6)(random);
    options.chunk_tokens = options.max_sequences + std::uniform_int_distribution(0, 90)(random);
    options.kv_tokens = 384 + 64 * std::uniform_int_distribution(0, 4)(random);  // ≥ any request
    options.prefix_reuse = round % 2 == 0;
    Engine engine(model_.checkpoint(), *backend_, options);

    std::vector<size_t> order(requests.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, random);
    std::map<RequestId, size_t> which;
    std::vector<Tokens> found(requests.size());
    std::map<RequestId, bool> cancelled;
    while (!order.empty() || !engine.idle()) {
      while (!order.empty() && std::bernoulli_distribution(0.4)(random)) {
        which[engine.add(requests[order.back()])] = order.back();
        order.pop_back();
      }
      if (std::bernoulli_distribution(0.05)(random)) {  // a bystander that comes and goes
        const RequestId id = engine.add(greedy(Tokens(100, 7), 100));
        cancelled[id] = false;
      }
      for (auto& [id, done] : cancelled) {
        if (!done && std::bernoulli_distribution(0.2)(random)) {
          done = true;
          engine.cancel(id);
        }
      }
      for (const Event& event : engine.step()) {
        ASSERT_NE(event.finish, FinishReason::kError) << event.error;
        if (event.finish) {
          preemptions += event.stats->preemptions;
          reused += event.stats->reused_tokens;
        }
        if (which.contains(event.id)) {
          found[which[event.id]].push_back(event.token->id);
        }
      }
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(found[i], expected[i]) << "round " << round << ", request " << i;
    }
    EXPECT_EQ(engine.stats().kv_pages_in_use, 0);
  }
  EXPECT_GT(preemptions, 0);
  EXPECT_GT(reused, 0);
}

}  // namespace
}  // namespace hopskip
