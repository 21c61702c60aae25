// The laws of Skip Softmax, each a function that lists its violations: none with the rule as it is,
// some with a rule that is wrong on purpose.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "attention/reference.h"
#include "attention/skip_rule.h"

namespace hopskip {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A random sequence whose scores look like a trained model's: a sink, a warm diagonal, a few hot
// keys that matter, many cold ones.
struct Case {
  AttentionShape shape;
  int64_t q_len = 0;
  int64_t kv_len = 0;
  std::vector<float> q, k, v;

  explicit Case(uint64_t seed) {
    std::mt19937_64 rng(seed);
    std::normal_distribution<float> normal;
    const auto pick = [&](std::initializer_list<int> values) {
      return values.begin()[std::uniform_int_distribution<size_t>(0, values.size() - 1)(rng)];
    };
    shape.num_kv_heads = pick({1, 2});
    shape.num_heads = shape.num_kv_heads * pick({1, 2, 3});
    shape.head_dim = 8;
    shape.scale = 1.0f / std::sqrt(8.0f);
    shape.window = pick({0, 0, 0, 50});
    shape.softcap = pick({0, 0, 0, 20}) * 1.0f;
    kv_len = std::uniform_int_distribution<int64_t>(1, 200)(rng);
    q_len = std::uniform_int_distribution<int64_t>(1, std::min<int64_t>(kv_len, 70))(rng);
    q.resize(q_len * shape.num_heads * shape.head_dim);
    k.resize(kv_len * shape.num_kv_heads * shape.head_dim);
    v.resize(k.size());
    for (float& x : q) {
      x = normal(rng);
    }
    for (float& x : v) {
      x = normal(rng);
    }
    // Dimension 0 of q is a constant, so that k's decides how hot a key is for all rows.
    for (size_t i = 0; i < q.size(); i += shape.head_dim) {
      q[i] = 8.0f;
    }
    for (size_t i = 0; i < k.size(); ++i) {
      k[i] = normal(rng);
    }
    for (int64_t key = 0; key < kv_len; ++key) {
      const float heat = key == 0 ? 4.0f : pick({0, 0, 0, 0, 0, 0, 0, 0, 3}) + 0.02f * normal(rng);
      for (int h = 0; h < shape.num_kv_heads; ++h) {
        k[(key * shape.num_kv_heads + h) * shape.head_dim] = heat;
      }
    }
  }

  ReferenceInput input() const { return {shape, q_len, kv_len, q.data(), k.data(), v.data()}; }

  // Textbook: the log2 score of one pair.
  double score(int64_t token, int head, int64_t key) const {
    const int64_t position = kv_len - q_len + token;
    if (key > position || (shape.window > 0 && key <= position - shape.window)) {
      return -kInfinity;
    }
    double dot = 0.0;
    for (int d = 0; d < shape.head_dim; ++d) {
      dot += double{q[(token * shape.num_heads + head) * shape.head_dim + d]} *
             double{k[(key * shape.num_kv_heads + head / shape.group()) * shape.head_dim + d]};
    }
    double s = dot * double{shape.scale};
    if (shape.softcap > 0) {
      s = double{shape.softcap} * std::tanh(s / double{shape.softcap});
    }
    return s * std::numbers::log2e;
  }
};

std::vector<TilePlan> plans(const AttentionShape& shape) {
  using enum VisitOrder;
  return {{16, 1, 16, 16, kFirstToLast, MaxSeed::kNone, 0},
          {16, 1, 16, 16, kSinkDiagonalInward, MaxSeed::kNone, 0},
          {16, 1, 16, 64, kSinkDiagonalInward, MaxSeed::kNone, 0},
          {16, 1, 32, 64, kLastToFirst, MaxSeed::kNone, 0},
          {1, shape.group(), 16, 32, kFirstToLast, MaxSeed::kExact, 64},
          {1, 1, 16, 16, kFirstToLast, MaxSeed::kEnds, 64},
          {5, 1, 8, 32, kSinkDiagonalInward, MaxSeed::kEnds, 0},
          {7, 1, 4, 12, kSinkDiagonalInward, MaxSeed::kNone, 48}};
}

// The wrong rules that the laws must catch.
bool updated_maximum(double tile_max, double running_max, double t) {
  return tile_max == -kInfinity || tile_max < std::max(running_max, tile_max) + t;
}

struct Replay {
  const Case& c;
  const TilePlan& plan;
  double t;
  ReferenceOutput result;

  Replay(const Case& c, const TilePlan& plan, double t, SkipRule rule = row_agrees_to_skip<double>)
      : c(c), plan(plan), t(t), result(reference_attention(c.input(), plan, t, nullptr, rule)) {}

  // Calls visit(token, head, state of each key's tile) for every row.
  template <typename Visit>
  void for_rows(Visit visit) const {
    for (int64_t token = 0; token < c.q_len; ++token) {
      for (int head = 0; head < c.shape.num_heads; ++head) {
        visit(token, head, [&, token, head](int64_t key) {
          return result.map.at(head / plan.heads, token / plan.rows, key / plan.keys);
        });
      }
    }
  }
};

// Law: the tile that holds a row's maximum is never skipped.
int skipped_maxima(const Replay& run) {
  int violations = 0;
  run.for_rows([&](int64_t token, int head, auto state) {
    int64_t best = -1;
    double best_score = -kInfinity;
    for (int64_t key = 0; key < run.c.kv_len; ++key) {
      if (run.c.score(token, head, key) > best_score) {
        best_score = run.c.score(token, head, key);
        best = key;
      }
    }
    violations += best >= 0 && state(best) == TileState::kSkipped;
  });
  return violations;
}

// Law: the first tile in which a row sees a key is never skipped (unseeded, one tile a span).
int skipped_first_tiles(const Replay& run) {
  int violations = 0;
  run.for_rows([&](int64_t token, int head, auto state) {
    const int64_t row_tile = token / run.plan.rows;
    const int64_t row_end = std::min(run.c.q_len, (row_tile + 1) * run.plan.rows);
    const int64_t offset = run.c.kv_len - run.c.q_len;
    const int64_t begin =
        visible_keys(run.c.shape, offset + row_tile * run.plan.rows, run.c.kv_len).begin;
    const int64_t first = begin / run.plan.span;
    const int64_t last = (offset + row_end - 1) / run.plan.span;
    for (int64_t visit = 0; visit <= last - first; ++visit) {
      const int64_t span = visited_span(run.plan.order, visit, first, last);
      bool sees = false;
      for (int64_t key = span * run.plan.span;
           key < std::min(run.c.kv_len, (span + 1) * run.plan.span); ++key) {
        sees = sees || run.c.score(token, head, key) > -kInfinity;
      }
      if (sees) {
        violations += state(span * run.plan.span) == TileState::kSkipped;
        return;
      }
    }
  });
  return violations;
}

// Law: the softmax mass a row loses is less than λ · (skipped keys).
int excess_losses(const Replay& run) {
  int violations = 0;
  run.for_rows([&](int64_t token, int head, auto state) {
    double m = -kInfinity;
    for (int64_t key = 0; key < run.c.kv_len; ++key) {
      m = std::max(m, run.c.score(token, head, key));
    }
    double total = 0.0;
    double lost = 0.0;
    int64_t skipped_keys = 0;
    for (int64_t key = 0; key < run.c.kv_len; ++key) {
      const double p = std::exp2(run.c.score(token, head, key) - m);
      total += p;
      if (p > 0.0 && state(key) == TileState::kSkipped) {
        lost += p;
        ++skipped_keys;
      }
    }
    const double bound = std::exp2(std::min(run.t, 0.0)) * static_cast<double>(skipped_keys);
    violations += skipped_keys > 0 && !(lost / total < bound * (1.0 + 1e-9));
  });
  return violations;
}

// Law: what is skipped does not depend on what was skipped before. Votes are recomputed from all
// scores visited so far, skipped or not.
int history_dependent_votes(const Replay& run) {
  const TilePlan& plan = run.plan;
  int violations = 0;
  for (int64_t head_tile = 0; head_tile < run.result.map.head_tiles; ++head_tile) {
    for (int64_t row_tile = 0; row_tile < run.result.map.row_tiles; ++row_tile) {
      const int64_t token_end = std::min(run.c.q_len, (row_tile + 1) * plan.rows);
      const int64_t spans = (run.c.kv_len + plan.span - 1) / plan.span;
      const int64_t offset = run.c.kv_len - run.c.q_len;
      const int64_t first =
          visible_keys(run.c.shape, offset + row_tile * plan.rows, run.c.kv_len).begin / plan.span;
      const int64_t last = (offset + token_end - 1) / plan.span;
      EXPECT_LT(last, spans);
      std::vector<bool> seen(run.c.kv_len, false);
      for (int64_t visit = 0; visit <= last - first; ++visit) {
        const int64_t span = visited_span(plan.order, visit, first, last);
        const int64_t begin = span * plan.span;
        const int64_t end = std::min(run.c.kv_len, begin + plan.span);
        std::fill(seen.begin() + begin, seen.begin() + end, true);
        for (int64_t tile = begin; tile < end; tile += plan.keys) {
          bool agree = true;
          bool visible = false;
          for (int h = 0; h < plan.heads; ++h) {
            for (int64_t token = row_tile * plan.rows; token < token_end; ++token) {
              const int head = static_cast<int>(head_tile) * plan.heads + h;
              double running = -kInfinity;
              double tile_max = -kInfinity;
              for (int64_t key = 0; key < run.c.kv_len; ++key) {
                const double s = run.c.score(token, head, key);
                const KeyRange keys = visible_keys(run.c.shape, offset + token, run.c.kv_len);
                const bool seeded =
                    plan.seed == MaxSeed::kExact ||
                    (plan.seed == MaxSeed::kEnds &&
                     (key < keys.begin / plan.keys * plan.keys + 64 ||
                      key >= (keys.end + plan.keys - 1) / plan.keys * plan.keys - 64));
                if (key >= tile && key < tile + plan.keys) {
                  tile_max = std::max(tile_max, s);
                } else if (seen[key] || seeded) {
                  running = std::max(running, s);
                }
              }
              visible = visible || tile_max > -kInfinity;
              agree = agree && row_agrees_to_skip(tile_max, running, run.t);
            }
          }
          const TileState expected = !visible ? TileState::kInvisible
                                     : agree  ? TileState::kSkipped
                                              : TileState::kKept;
          violations += run.result.map.at(head_tile, row_tile, tile / plan.keys) != expected;
        }
      }
    }
  }
  return violations;
}

class Laws : public testing::Test {
 protected:
  // Runs check(case, plan, log2 λ) over random cases, every plan and thresholds up to λ = 1.
  template <typename Check>
  void for_all(Check check) {
    for (uint64_t seed = 1; seed <= 25; ++seed) {
      const Case c(seed);
      for (const TilePlan& plan : plans(c.shape)) {
        for (double factor : {0.05, 2.0, 60.0, 1e4}) {
          check(c, plan, double{skip_threshold_log2(factor, c.kv_len)});
        }
      }
    }
  }
};

TEST_F(Laws, HoldForTheRule) {
  SkipCounts counts;
  for_all([&](const Case& c, const TilePlan& plan, double t) {
    const Replay run(c, plan, t);
    counts += run.result.map.counts();
    EXPECT_EQ(skipped_maxima(run), 0) << to_string(plan) << " t=" << t;
    EXPECT_EQ(excess_losses(run), 0) << to_string(plan) << " t=" << t;
    if (plan.split == 0) {
      EXPECT_EQ(history_dependent_votes(run), 0) << to_string(plan) << " t=" << t;
    }
    if (plan.seed == MaxSeed::kNone && plan.split == 0 && plan.span == plan.keys) {
      EXPECT_EQ(skipped_first_tiles(run), 0) << to_string(plan) << " t=" << t;
    }
  });
  // The laws are idle unless much is skipped and much is not.
  EXPECT_GT(counts.sparsity(), 0.2);
  EXPECT_LT(counts.sparsity(), 0.9);
}

TEST_F(Laws, FailWhenLambdaIsNotClamped) {
  int maxima = 0;
  int history = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const Case c(seed);
    const TilePlan plan = plans(c.shape)[0];
    const double unclamped = std::log2(1e4 / static_cast<double>(c.kv_len));
    const Replay run(c, plan, unclamped);
    maxima += skipped_maxima(run);
    history += history_dependent_votes(run);
    EXPECT_EQ(skip_threshold_log2(1e4, c.kv_len), 0.0f);
  }
  EXPECT_GT(maxima, 0);
  EXPECT_GT(history, 0);
}

TEST_F(Laws, FailWhenAVoteComparesWithTheUpdatedMaximumUnclamped) {
  int maxima = 0;
  int first_tiles = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const Case c(seed);
    const TilePlan plan = plans(c.shape)[0];
    const Replay run(c, plan, std::log2(1e4 / static_cast<double>(c.kv_len)), updated_maximum);
    maxima += skipped_maxima(run);
    first_tiles += skipped_first_tiles(run);
  }
  EXPECT_GT(maxima, 0);
  EXPECT_GT(first_tiles, 0);
}

TEST_F(Laws, FailWhenScoresAndThresholdHaveDifferentUnits) {
  // A threshold taken to base 10 against scores in log2 units.
  const SkipRule rule = [](double tile_max, double running_max, double t) {
    return tile_max < running_max + t * std::log10(2.0);
  };
  int losses = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const Case c(seed);
    losses +=
        excess_losses(Replay(c, plans(c.shape)[0], skip_threshold_log2(0.05, c.kv_len), rule));
  }
  EXPECT_GT(losses, 0);
}

// A vote that compares with ≤ lets the row's own maximum vote itself out once λ reaches 1.
TEST_F(Laws, FailWhenEqualityAgrees) {
  const SkipRule rule = [](double tile_max, double running_max, double t) {
    return tile_max == -kInfinity || tile_max <= std::max(running_max, tile_max) + t;
  };
  int maxima = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const Case c(seed);
    maxima += skipped_maxima(Replay(c, plans(c.shape)[0], 0.0, rule));
  }
  EXPECT_GT(maxima, 0);
}

// Why kernels may compare with a maximum that already includes the tile, as long as λ is clamped.
TEST_F(Laws, UpdatedMaximumIsTheSameRuleWhileLambdaIsAtMostOne) {
  for_all([&](const Case& c, const TilePlan& plan, double t) {
    EXPECT_EQ(Replay(c, plan, t).result.map.states,
              Replay(c, plan, t, updated_maximum).result.map.states);
  });
}

TEST_F(Laws, AHigherFactorNeverSkipsFewerTiles) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    const Case c(seed);
    for (const TilePlan& plan : plans(c.shape)) {
      SkipMap lower;
      for (double factor : {0.0, 0.1, 1.0, 10.0, 100.0, 1e4}) {
        const SkipMap map = Replay(c, plan, skip_threshold_log2(factor, c.kv_len)).result.map;
        for (size_t i = 0; i < lower.states.size(); ++i) {
          EXPECT_FALSE(lower.states[i] == TileState::kSkipped && map.states[i] == TileState::kKept);
        }
        lower = map;
      }
      EXPECT_GT(lower.counts().skipped + (c.kv_len < 33), 0u) << to_string(plan) << seed;
    }
  }
}

TEST_F(Laws, UnseededSplitsSkipASubsetOfOnePass) {
  uint64_t split_skips = 0;
  uint64_t pass_skips = 0;
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    const Case c(seed);
    TilePlan plan{16, 1, 8, 8, VisitOrder::kFirstToLast, MaxSeed::kNone, 0};
    const double t = skip_threshold_log2(20.0, c.kv_len);
    const SkipMap pass = Replay(c, plan, t).result.map;
    plan.split = 64;
    const SkipMap split = Replay(c, plan, t).result.map;
    for (size_t i = 0; i < pass.states.size(); ++i) {
      EXPECT_FALSE(split.states[i] == TileState::kSkipped && pass.states[i] == TileState::kKept);
    }
    split_skips += split.counts().skipped;
    pass_skips += pass.counts().skipped;
  }
  EXPECT_GT(split_skips, 0u);
  EXPECT_LT(split_skips, pass_skips);
}

// What the seeds of splits are for: skipping what unseeded splits keep, never what a row's true
// maximum keeps.
TEST_F(Laws, SplitsSeededAtTheEndsSkipBetweenUnseededAndExact) {
  const std::vector<MaxSeed> seeds = {MaxSeed::kNone, MaxSeed::kEnds, MaxSeed::kExact};
  std::vector<uint64_t> skips(seeds.size(), 0);
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    const Case c(seed);
    const double t = skip_threshold_log2(20.0, c.kv_len);
    SkipMap fewer;
    for (size_t i = 0; i < seeds.size(); ++i) {
      const TilePlan plan{1, 1, 8, 8, VisitOrder::kFirstToLast, seeds[i], 32};
      const SkipMap map = Replay(c, plan, t).result.map;
      for (size_t tile = 0; tile < fewer.states.size(); ++tile) {
        EXPECT_FALSE(fewer.states[tile] == TileState::kSkipped &&
                     map.states[tile] == TileState::kKept);
      }
      skips[i] += map.counts().skipped;
      fewer = map;
    }
  }
  EXPECT_LT(skips[0], skips[1]);
  EXPECT_LE(skips[1], skips[2]);
}

TEST_F(Laws, DenseIsTextbookAttention) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    Case c(seed);
    std::vector<float> sinks(c.shape.num_heads);
    for (int h = 0; h < c.shape.num_heads; ++h) {
      sinks[h] = 0.5f * h - 1.0f;
    }
    for (const bool with_sinks : {false, true}) {
      c.shape.sinks = with_sinks ? sinks.data() : nullptr;
      for (const TilePlan& plan : plans(c.shape)) {
        const Replay run(c, plan, kDenseThresholdLog2);
        EXPECT_EQ(run.result.map.counts().skipped, 0u);
        for (int64_t token = 0; token < c.q_len; ++token) {
          for (int head = 0; head < c.shape.num_heads; ++head) {
            double total = with_sinks ? std::exp(double{sinks[head]}) : 0.0;
            std::vector<double> out(c.shape.head_dim, 0.0);
            for (int64_t key = 0; key < c.kv_len; ++key) {
              const double p = std::exp2(c.score(token, head, key));
              total += p;
              for (int d = 0; d < c.shape.head_dim; ++d) {
                const int64_t kv_row = key * c.shape.num_kv_heads + head / c.shape.group();
                out[d] += p * double{c.v[kv_row * c.shape.head_dim + d]};
              }
            }
            const int64_t row = token * c.shape.num_heads + head;
            ASSERT_NEAR(run.result.lse[row], std::log(total),
                        1e-11 * std::abs(std::log(total)) + 1e-11);
            for (int d = 0; d < c.shape.head_dim; ++d) {
              ASSERT_NEAR(run.result.out[row * c.shape.head_dim + d], out[d] / total, 1e-11);
            }
          }
        }
      }
    }
  }
}

// Skipped keys leave no trace in the output: it is attention over the kept keys alone.
TEST_F(Laws, SkippedKeysDoNotEnterTheDenominator) {
  for_all([&](const Case& c, const TilePlan& plan, double t) {
    const Replay run(c, plan, t);
    run.for_rows([&](int64_t token, int head, auto state) {
      double total = 0.0;
      for (int64_t key = 0; key < c.kv_len; ++key) {
        if (state(key) == TileState::kKept) {
          total += std::exp2(c.score(token, head, key));
        }
      }
      ASSERT_NEAR(run.result.lse[token * c.shape.num_heads + head], std::log(total), 1e-9);
    });
  });
}

}  // namespace
}  // namespace hopskip
