// Where the rows of each expert lie, computed the obvious way.
#ifndef HOPSKIP_TESTS_PARITY_CUDA_OPS_MOE_SUPPORT_H_
#define HOPSKIP_TESTS_PARITY_CUDA_OPS_MOE_SUPPORT_H_

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cuda/smxx/moe_permute/launch.h"
#include "parity/cuda_ops/ops_support.h"

namespace hopskip::test {

struct HostLayout {
  std::vector<int32_t> offsets, counts, active, rows, row_tokens, block_experts;
  int64_t max_rows = 0;

  HostLayout(const std::vector<int32_t>& ids, int k, int experts, int block_rows) {
    const int64_t tokens = std::ssize(ids) / k;
    max_rows = cuda::moe_max_rows(tokens, k, experts, block_rows);
    rows.resize(ids.size());
    row_tokens.assign(max_rows, -1);
    block_experts.assign(max_rows / block_rows, -1);
    int32_t row = 0;
    for (int expert = 0; expert < experts; ++expert) {
      offsets.push_back(row);
      for (size_t pair = 0; pair < ids.size(); ++pair) {
        if (ids[pair] == expert) {
          row_tokens[row] = static_cast<int32_t>(pair / k);
          block_experts[row / block_rows] = expert;
          rows[pair] = row++;
        }
      }
      counts.push_back(row - offsets.back());
      if (counts.back() > 0) {
        active.push_back(expert);
      }
      row = (row + block_rows - 1) / block_rows * block_rows;
    }
  }
};

// A layout in device memory: poison, or a copy of the host's.
class DeviceLayout {
 public:
  DeviceLayout(int64_t pairs, int64_t max_rows, int experts, int block_rows)
      : offsets_(experts),
        counts_(experts),
        active_(experts),
        num_active_(1),
        rows_(pairs),
        row_tokens_(max_rows),
        block_experts_(max_rows / block_rows) {}
  explicit DeviceLayout(const HostLayout& host)
      : offsets_(host.offsets),
        counts_(host.counts),
        active_(host.active),
        num_active_(std::vector<int32_t>{static_cast<int32_t>(host.active.size())}),
        rows_(host.rows),
        row_tokens_(host.row_tokens),
        block_experts_(host.block_experts) {}

  cuda::MoeLayout get() const {
    return {offsets_.data(), counts_.data(),     active_.data(),       num_active_.data(),
            rows_.data(),    row_tokens_.data(), block_experts_.data()};
  }
  void expect_equals(const HostLayout& want) const {
    EXPECT_EQ(offsets_.download(), want.offsets);
    EXPECT_EQ(counts_.download(), want.counts);
    EXPECT_EQ(num_active_.download()[0], std::ssize(want.active));
    std::vector<int32_t> active = active_.download();
    active.resize(want.active.size());
    EXPECT_EQ(active, want.active);
    EXPECT_EQ(rows_.download(), want.rows);
    EXPECT_EQ(row_tokens_.download(), want.row_tokens);
    EXPECT_EQ(block_experts_.download(), want.block_experts);
  }

 private:
  DeviceArray<int32_t> offsets_, counts_, active_, num_active_, rows_, row_tokens_, block_experts_;
};

// k different experts for each token; low ones are much more likely, so that some have many rows
// and some have none.
inline std::vector<int32_t> skewed_ids(int64_t tokens, int k, int experts,
                                       std::mt19937_64& random) {
  std::vector<int32_t> ids;
  std::exponential_distribution<double> key;
  std::vector<std::pair<double, int32_t>> order(experts);
  for (int64_t token = 0; token < tokens; ++token) {
    for (int expert = 0; expert < experts; ++expert) {
      order[expert] = {key(random) * (1 + expert), expert};
    }
    std::partial_sort(order.begin(), order.begin() + k, order.end());
    for (int i = 0; i < k; ++i) {
      ids.push_back(order[i].second);
    }
  }
  return ids;
}

// Products of rows with an expert's weights [out][in], in fp64, and how far fp32 sums of them may
// be off: a tensor core adds 16 products at a time and may lose a last place each time.
struct Product {
  double value = 0.0;
  double slack = 0.0;
};
inline Product product(const bf16* a, const bf16* b, int in) {
  Product sum;
  for (int i = 0; i < in; ++i) {
    const double term = double{static_cast<float>(a[i])} * static_cast<float>(b[i]);
    sum.value += term;
    sum.slack += std::abs(term);
  }
  sum.slack *= std::ldexp(in / 16 + 8, -23);
  return sum;
}
// silu(gate) · up; |silu'| ≤ 1.1, and the fast exponential loses a few last places.
inline Product silu_product(const Product& gate, const Product& up) {
  const double silu = gate.value / (1.0 + std::exp(-gate.value));
  const double value = silu * up.value;
  return {value, 1.1 * gate.slack * std::abs(up.value) + std::abs(silu) * up.slack +
                     4e-6 * std::abs(value)};
}

// What row `a` gives with one expert's weights [out][in]; with b_up, of the same shape, gated.
inline std::vector<Product> expert_row(const bf16* a, const bf16* b, const bf16* b_up, int in,
                                       int out) {
  std::vector<Product> results;
  for (int col = 0; col < out; ++col) {
    Product result = product(a, b + int64_t{col} * in, in);
    if (b_up != nullptr) {
      result = silu_product(result, product(a, b_up + int64_t{col} * in, in));
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace hopskip::test

#endif  // HOPSKIP_TESTS_PARITY_CUDA_OPS_MOE_SUPPORT_H_
