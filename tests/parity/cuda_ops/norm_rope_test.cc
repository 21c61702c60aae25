// Norm and rotary embedding against fp64.
#include <array>

#include "kernels/cuda/smxx/rms_norm/launch.h"
#include "kernels/cuda/smxx/rope/launch.h"
#include "kernels/cuda/smxx/rotate_append/launch.h"
#include "parity/cuda_ops/ops_support.h"

namespace hopskip::cuda {
namespace {

using test::bf16_bound;
using test::DeviceArray;
using test::DeviceRows;
using test::Judge;
using test::Layout;
using test::normal_rows;
using test::Rows;

using CudaOpsNorm = test::OpsTest;
using CudaOpsRope = test::OpsTest;

constexpr float kEps = 1e-5f;

// x has heads · cols columns; each part of `cols` is a row.
template <typename T>
std::string judge_norm(const Rows<T>& x, const std::vector<float>& weight, const Rows<bf16>& out) {
  const auto cols = static_cast<int64_t>(weight.size());
  Judge judge;
  for (int64_t row = 0; row < x.layout.rows; ++row) {
    for (int64_t head = 0; head < x.layout.cols; head += cols) {
      double squares = 0.0;
      for (int64_t i = 0; i < cols; ++i) {
        squares += x.get(row, head + i) * x.get(row, head + i);
      }
      const double root = std::sqrt(squares / static_cast<double>(cols) + kEps);
      for (int64_t i = 0; i < cols; ++i) {
        const double want = x.get(row, head + i) * weight[i] / root;
        judge.compare(out.get(row, head + i), want, bf16_bound(want), row, head + i);
      }
    }
  }
  return judge.problem();
}

// out_layout: like the input, or its own.
template <typename T>
void check_norm(const Layout& layout, int heads, const Layout* out_layout,
                std::mt19937_64& random) {
  SCOPED_TRACE(fmt::format("{} x {}, gap {}, shift {}, {} heads, {} bytes, {}", layout.rows,
                           layout.cols, layout.gap, layout.shift, heads, sizeof(T),
                           out_layout != nullptr ? "apart" : "in place"));
  const Rows<T> x = normal_rows<T>(layout, random, 3.0f);
  std::vector<float> weight(layout.cols / heads);
  for (float& w : weight) {
    w = std::normal_distribution<float>(1.0f, 0.5f)(random);
  }
  const DeviceArray<float> device_weight(weight);
  const DeviceRows<T> device_x(x);
  RmsNormArgs args{.x = device_x.data(),
                   .weight = device_weight.data(),
                   .tokens = layout.rows,
                   .x_stride = layout.stride(),
                   .heads = heads,
                   .cols = static_cast<int32_t>(weight.size()),
                   .eps = kEps,
                   .x_is_f32 = sizeof(T) == 4};
  if (out_layout != nullptr) {
    const DeviceRows<bf16> out(*out_layout);
    args.out = out.data();
    args.out_stride = out_layout->stride();
    launch_rms_norm(args, nullptr);
    EXPECT_EQ(judge_norm(x, weight, out.download()), "");
    EXPECT_EQ(std::memcmp(device_x.download().values.data(), x.values.data(),
                          x.values.size() * sizeof(T)),
              0)
        << "the input was written";
  } else if constexpr (std::is_same_v<T, bf16>) {
    args.out = device_x.data();
    args.out_stride = layout.stride();
    launch_rms_norm(args, nullptr);
    EXPECT_EQ(judge_norm(x, weight, device_x.download()), "");
  }
}

TEST_F(CudaOpsNorm, RowsOfEveryWidth) {
  for (const int64_t cols : {1, 7, 8, 64, 100, 128, 129, 256, 512, 520, 2048, 2052, 4096, 7168}) {
    for (const int64_t rows : {0, 1, 3, 37}) {
      for (const auto& [gap, shift] : {std::pair{0, 0}, std::pair{8, 8}, std::pair{3, 1}}) {
        const Layout layout{rows, cols, gap, shift};
        const Layout out{rows, cols, 2 * gap, shift};
        check_norm<float>(layout, 1, &out, random_);
        check_norm<bf16>(layout, 1, &out, random_);
        check_norm<bf16>(layout, 1, nullptr, random_);
      }
    }
  }
}

TEST_F(CudaOpsNorm, HeadsInPlace) {
  for (const int head_dim : {64, 96, 128, 256, 20}) {
    for (const int heads : {1, 4, 9, 32}) {
      for (const auto& [gap, shift] : {std::pair{0, 0}, std::pair{256, 64}, std::pair{5, 3}}) {
        const Layout layout{integer(1, 40), int64_t{head_dim} * heads, gap, shift};
        check_norm<bf16>(layout, heads, nullptr, random_);
        check_norm<float>(layout, heads, &layout, random_);
      }
    }
  }
}

struct RopeCase {
  int head_dim;
  int half;
  bool interleaved;
  float base;
};
constexpr RopeCase kRopeCases[] = {
    {128, 64, false, 1e6f}, {64, 32, false, 1e4f}, {128, 32, false, 5e5f}, {96, 48, true, 1e4f},
    {64, 32, true, 1e6f},   {80, 20, false, 1e4f}, {72, 30, true, 1e4f},   {256, 128, false, 1e6f},
    {10, 3, false, 1e4f},   {10, 5, true, 1e4f}};

struct RopeJudge {
  Judge judge;
  double worst_excess = 0.0;  // of an error over that of rounding, for vectors of length 1

  void compare(double got, double want, double length, int64_t row, int64_t col) {
    judge.compare(got, want, bf16_bound(want) + 1e-6 * length, row, col);
    worst_excess = std::max(worst_excess, (std::abs(got - want) - 0.5 * bf16_bound(want)) / length);
  }
};

void judge_rope(const RopeCase& c, const Rows<bf16>& x, const std::vector<int32_t>& positions,
                const std::vector<float>& inv_freq, float magnitude, const Rows<bf16>& out,
                RopeJudge& judge) {
  for (int64_t row = 0; row < x.layout.rows; ++row) {
    for (int64_t head = 0; head < x.layout.cols; head += c.head_dim) {
      for (int i = 0; i < c.half; ++i) {
        const int64_t first = head + (c.interleaved ? 2 * i : i);
        const int64_t second = head + (c.interleaved ? 2 * i + 1 : i + c.half);
        const double angle = double(positions[row]) * double{inv_freq[i]};
        const double a = x.get(row, first);
        const double b = x.get(row, second);
        const double length = magnitude * std::hypot(a, b);
        judge.compare(out.get(row, first), magnitude * (a * std::cos(angle) - b * std::sin(angle)),
                      length, row, first);
        judge.compare(out.get(row, second), magnitude * (b * std::cos(angle) + a * std::sin(angle)),
                      length, row, second);
      }
      for (int i = 2 * c.half; i < c.head_dim; ++i) {
        judge.judge.compare(out.get(row, head + i), x.get(row, head + i), 0.0, row, head + i);
      }
    }
  }
}

std::vector<float> inverse_frequencies(const RopeCase& c) {
  std::vector<float> inv_freq(c.half);
  for (int i = 0; i < c.half; ++i) {
    inv_freq[i] = std::pow(c.base, -static_cast<float>(i) / static_cast<float>(c.half));
  }
  return inv_freq;
}

TEST_F(CudaOpsRope, RotatesUpToAMillion) {
  for (const RopeCase& c : kRopeCases) {
    for (const int heads : {1, 4, 36}) {
      for (const auto& [gap, shift] : {std::pair{0, 0}, std::pair{512, 8}, std::pair{1, 1}}) {
        SCOPED_TRACE(fmt::format("head_dim {}, half {}, {}, {} heads, gap {}, shift {}", c.head_dim,
                                 c.half, c.interleaved ? "interleaved" : "halves", heads, gap,
                                 shift));
        std::vector<int32_t> positions = {0, 1, 17, 4095, 131071, 1048575, 1 << 20};
        for (int i = 0; i < 14; ++i) {
          positions.push_back(static_cast<int32_t>(integer(0, 1 << 20)));
        }
        const float magnitude = gap == 0 ? 1.0f : 1.347f;
        const std::vector<float> inv_freq = inverse_frequencies(c);
        const Layout layout{std::ssize(positions), int64_t{heads} * c.head_dim, gap, shift};
        const Rows<bf16> x = normal_rows<bf16>(layout, random_);
        const DeviceArray<int32_t> device_positions(positions);
        const DeviceArray<float> device_inv_freq(inv_freq);
        const DeviceRows<bf16> device_x(x);
        const RopeArgs args{.x = device_x.data(),
                            .positions = device_positions.data(),
                            .inv_freq = device_inv_freq.data(),
                            .tokens = layout.rows,
                            .stride = layout.stride(),
                            .heads = heads,
                            .head_dim = c.head_dim,
                            .half = c.half,
                            .magnitude = magnitude,
                            .interleaved = c.interleaved};
        launch_rope(args, nullptr);
        RopeJudge judge;
        judge_rope(c, x, positions, inv_freq, magnitude, device_x.download(), judge);
        EXPECT_EQ(judge.judge.problem(), "");
        EXPECT_LT(judge.worst_excess, 5e-7);
        if (heads == 36 && gap == 0) {
          fmt::print("  head_dim {:3}: {:.1e} beyond rounding\n", c.head_dim, judge.worst_excess);
        }
      }
    }
  }
}

// Heads as rotate_append sees them: normalised, rotated; in fp64.
struct PreparedHead {
  std::vector<double> values;
  double length = 0.0;  // of the longest pair
};
PreparedHead prepare(const Rows<bf16>& x, int64_t row, int64_t first, int head_dim,
                     const std::vector<float>* norm, double eps, double position,
                     const std::vector<float>& inv_freq, double magnitude) {
  std::vector<double> head(head_dim);
  double squares = 0.0;
  for (int i = 0; i < head_dim; ++i) {
    head[i] = x.get(row, first + i);
    squares += head[i] * head[i];
  }
  for (int i = 0; norm != nullptr && i < head_dim; ++i) {
    head[i] *= (*norm)[i] / std::sqrt(squares / head_dim + eps);
  }
  PreparedHead prepared{std::vector<double>(head_dim)};
  for (int i = 0; i < head_dim / 2; ++i) {
    const double angle = position * double{inv_freq[i]};
    const double a = head[i];
    const double b = head[i + head_dim / 2];
    prepared.values[i] = magnitude * (a * std::cos(angle) - b * std::sin(angle));
    prepared.values[i + head_dim / 2] = magnitude * (b * std::cos(angle) + a * std::sin(angle));
    prepared.length = std::max(prepared.length, magnitude * std::hypot(a, b));
  }
  return prepared;
}

TEST_F(CudaOpsRope, RotatesAndAppends) {
  constexpr int64_t kCapacity = 5 * 64;
  constexpr float kEps = 1e-6f;
  struct Heads {
    int q, kv;
  };
  for (const int head_dim : {64, 128, 256}) {
    for (const auto& [q_heads, kv_heads] : {Heads{32, 4}, Heads{9, 3}, Heads{1, 1}}) {
      for (const int64_t tokens : {1, 3, 40, 600}) {
        for (const bool norms : {false, true}) {
          SCOPED_TRACE(fmt::format("head_dim {}, {} and {} heads, {} tokens{}", head_dim, q_heads,
                                   kv_heads, tokens, norms ? ", norms" : ""));
          const int gap = tokens == 3 ? 16 : 0;
          const int64_t kv_cols = int64_t{kv_heads} * head_dim;
          const Rows<bf16> q =
              normal_rows<bf16>({tokens, int64_t{q_heads} * head_dim, gap, 0}, random_);
          const Rows<bf16> k = normal_rows<bf16>({tokens, kv_cols, gap, 0}, random_);
          const Rows<bf16> v = normal_rows<bf16>({tokens, kv_cols, 0, 0}, random_);
          const std::vector<float> q_norm = normal_rows<float>({1, head_dim, 0, 0}, random_).values;
          const std::vector<float> k_norm = normal_rows<float>({1, head_dim, 0, 0}, random_).values;
          const std::vector<float> inv_freq =
              inverse_frequencies({head_dim, head_dim / 2, false, 1e6f});
          std::vector<int32_t> positions(tokens);
          std::vector<int64_t> slots(kCapacity);
          std::iota(slots.begin(), slots.end(), 0);
          std::shuffle(slots.begin(), slots.end(), random_);
          slots.resize(tokens, -1);  // beyond what there is room for: no token
          for (int32_t& position : positions) {
            position = static_cast<int32_t>(integer(0, 1 << 20));
          }
          if (tokens > 1) {
            slots[1] = -1;
          }
          const DeviceRows<bf16> device_q(q), device_k(k), device_v(v);
          const DeviceArray<float> device_q_norm(q_norm), device_k_norm(k_norm);
          const DeviceArray<float> device_inv_freq(inv_freq);
          const DeviceArray<int32_t> device_positions(positions);
          const DeviceArray<int64_t> device_slots(slots);
          const DeviceRows<bf16> k_cache(Layout{kCapacity, kv_cols, 0, 0});
          const DeviceRows<bf16> v_cache(Layout{kCapacity, kv_cols, 0, 0});
          const Rows<bf16> v_before = v_cache.download();
          launch_rotate_append({.q = device_q.data(),
                                .k = device_k.data(),
                                .v = device_v.data(),
                                .q_stride = q.layout.stride(),
                                .k_stride = k.layout.stride(),
                                .v_stride = v.layout.stride(),
                                .q_norm = norms ? device_q_norm.data() : nullptr,
                                .k_norm = norms ? device_k_norm.data() : nullptr,
                                .positions = device_positions.data(),
                                .inv_freq = device_inv_freq.data(),
                                .k_cache = k_cache.data(),
                                .v_cache = v_cache.data(),
                                .slots = device_slots.data(),
                                .tokens = tokens,
                                .q_heads = q_heads,
                                .kv_heads = kv_heads,
                                .head_dim = head_dim,
                                .eps = kEps,
                                .magnitude = 1.25f,
                                .cache_is_fp8 = false,
                                .k_scale = 1.0f,
                                .v_scale = 1.0f},
                               nullptr);
          const Rows<bf16> got_q = device_q.download();
          const Rows<bf16> got_k = k_cache.download();
          const Rows<bf16> got_v = v_cache.download();
          Judge judge;
          std::vector<bool> written(kCapacity);
          for (int64_t token = 0; token < tokens; ++token) {
            const auto compare = [&](const Rows<bf16>& x, const Rows<bf16>& got, int64_t row,
                                     int head, const std::vector<float>& norm) {
              const PreparedHead want =
                  prepare(x, token, int64_t{head} * head_dim, head_dim, norms ? &norm : nullptr,
                          kEps, positions[token], inv_freq, 1.25);
              for (int i = 0; i < head_dim; ++i) {
                judge.compare(got.get(row, int64_t{head} * head_dim + i), want.values[i],
                              bf16_bound(want.values[i]) + 2e-6 * want.length, row, i);
              }
            };
            for (int head = 0; head < q_heads; ++head) {
              compare(q, got_q, token, head, q_norm);
            }
            if (slots[token] < 0) {
              continue;
            }
            written[slots[token]] = true;
            for (int head = 0; head < kv_heads; ++head) {
              compare(k, got_k, slots[token], head, k_norm);
            }
            for (int64_t col = 0; col < kv_cols; ++col) {
              judge.compare(got_v.get(slots[token], col), v.get(token, col), 0.0, token, col);
            }
          }
          EXPECT_EQ(judge.problem(), "");
          for (int64_t slot = 0; slot < kCapacity; ++slot) {
            EXPECT_TRUE(written[slot] ||
                        std::memcmp(&got_v.values[slot * kv_cols], &v_before.values[slot * kv_cols],
                                    kv_cols * sizeof(bf16)) == 0)
                << "slot " << slot;
          }
        }
      }
    }
  }
}

TEST_F(CudaOpsRope, NothingToDo) {
  const DeviceArray<bf16> x(64);
  launch_rope({.x = x.data(), .tokens = 0, .heads = 1, .head_dim = 64, .half = 32}, nullptr);
  launch_rms_norm({.out = x.data(), .tokens = 0, .heads = 1, .cols = 64}, nullptr);
  EXPECT_EQ(std::memcmp(x.download().data(), DeviceArray<bf16>::poison(64).data(), 128), 0);
}

// What the tests above must refuse. Runs without a GPU.
TEST(CudaOpsJudges, RefuseAnglesFromFloatProducts) {
  const RopeCase c{128, 64, false, 1e6f};
  const std::vector<float> inv_freq = inverse_frequencies(c);
  std::mt19937_64 random(1);
  const std::vector<int32_t> positions = {1000003, 1048575};
  const Rows<bf16> x = normal_rows<bf16>({2, 128, 0, 0}, random);
  const auto rotated = [&](auto zero) {
    using Real = decltype(zero);
    Rows<bf16> out = x;
    for (int row = 0; row < 2; ++row) {
      for (int i = 0; i < c.half; ++i) {
        const Real angle = static_cast<Real>(positions[row]) * static_cast<Real>(inv_freq[i]);
        const auto a = static_cast<Real>(x.get(row, i));
        const auto b = static_cast<Real>(x.get(row, i + c.half));
        out.at(row, i) = bf16(static_cast<float>(a * std::cos(angle) - b * std::sin(angle)));
        out.at(row, i + c.half) =
            bf16(static_cast<float>(b * std::cos(angle) + a * std::sin(angle)));
      }
    }
    RopeJudge judge;
    judge_rope(c, x, positions, inv_freq, 1.0f, out, judge);
    return judge;
  };
  EXPECT_EQ(rotated(0.0).judge.problem(), "");
  EXPECT_LT(rotated(0.0).worst_excess, 5e-7);
  EXPECT_NE(rotated(0.0f).judge.problem(), "");
}

TEST(CudaOpsJudges, RefuseANormThatForgetsEpsilonOrOneElement) {
  std::mt19937_64 random(2);
  const Rows<float> x = normal_rows<float>({1, 64, 0, 0}, random, 0.01f);
  const std::vector<float> weight(64, 1.0f);
  const auto judged = [&](double eps, int first) {
    Rows<bf16> out(x.layout);
    double squares = 0.0;
    for (int i = first; i < 64; ++i) {
      squares += x.get(0, i) * x.get(0, i);
    }
    for (int i = 0; i < 64; ++i) {
      out.at(0, i) = bf16(static_cast<float>(x.get(0, i) / std::sqrt(squares / 64.0 + eps)));
    }
    return judge_norm(x, weight, out);
  };
  EXPECT_EQ(judged(kEps, 0), "");
  EXPECT_NE(judged(0.0, 0), "");
  EXPECT_NE(judged(kEps, 3), "");
}

}  // namespace
}  // namespace hopskip::cuda
