// Activation, embedding and gather against the obvious.

#include "kernels/cuda/smxx/embed/launch.h"
#include "kernels/cuda/smxx/gather_rows/launch.h"
#include "kernels/cuda/smxx/silu_mul/launch.h"
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

using CudaOpsElementwise = test::OpsTest;

TEST_F(CudaOpsElementwise, SiluMul) {
  for (const int64_t cols : {1, 8, 60, 768, 2051, 12288}) {
    for (const int64_t rows : {0, 1, 29}) {
      for (const auto& [gap, shift] :
           {std::pair{0, 0}, std::pair{768, 16}, std::pair{3, 5}, std::pair{4, 8}}) {
        for (const bool in_place : {false, true}) {
          SCOPED_TRACE(fmt::format("{} x {}, gap {}, shift {}", rows, cols, gap, shift));
          const Layout layout{rows, cols, gap, shift};
          const Rows<bf16> gate = normal_rows<bf16>(layout, random_, 20.0f);
          const Rows<bf16> up = normal_rows<bf16>(layout, random_);
          const DeviceRows<bf16> device_gate(gate);
          const DeviceRows<bf16> device_up(up);
          const DeviceRows<bf16> device_out(layout);
          const DeviceRows<bf16>& target = in_place ? device_gate : device_out;
          launch_silu_mul({device_gate.data(), device_up.data(), target.data(), rows, cols,
                           layout.stride(), layout.stride(), layout.stride()},
                          nullptr);
          const Rows<bf16> out = target.download();
          Judge judge;
          for (int64_t row = 0; row < rows; ++row) {
            for (int64_t col = 0; col < cols; ++col) {
              const double g = gate.get(row, col);
              const double want = g / (1.0 + std::exp(-g)) * up.get(row, col);
              judge.compare(out.get(row, col), want, bf16_bound(want) + 1e-37, row, col);
            }
          }
          EXPECT_EQ(judge.problem(), "");
        }
      }
    }
  }
}

TEST_F(CudaOpsElementwise, Embed) {
  constexpr int64_t kVocab = 301;
  for (const int64_t hidden : {8, 30, 2048, 4100}) {
    for (const int64_t tokens : {0, 1, 65}) {
      for (const auto& [gap, shift] : {std::pair{0, 0}, std::pair{4, 4}, std::pair{1, 1}}) {
        const Rows<bf16> table = normal_rows<bf16>({kVocab, hidden, 0, 0}, random_);
        std::vector<int32_t> ids(tokens);
        for (int32_t& id : ids) {
          id = static_cast<int32_t>(integer(0, kVocab - 1));
        }
        const DeviceRows<bf16> device_table(table);
        const DeviceArray<int32_t> device_ids(ids);
        const DeviceRows<float> device_out(Layout{tokens, hidden, gap, shift});
        launch_embed({device_ids.data(), device_table.data(), device_out.data(), tokens, hidden,
                      device_out.layout.stride()},
                     nullptr);
        const Rows<float> out = device_out.download();
        Judge judge;
        for (int64_t token = 0; token < tokens; ++token) {
          for (int64_t col = 0; col < hidden; ++col) {
            judge.compare(out.get(token, col), table.get(ids[token], col), 0.0, token, col);
          }
        }
        EXPECT_EQ(judge.problem(), "") << hidden << " wide, gap " << gap;
      }
    }
  }
}

template <typename T>
void check_gather(const Layout& from, const Layout& to, bool wide, std::mt19937_64& random) {
  SCOPED_TRACE(fmt::format("{} of {} rows of {}, {} bytes, gaps {} and {}, shift {}", to.rows,
                           from.rows, from.cols, sizeof(T), from.gap, to.gap, to.shift));
  const Rows<T> x = normal_rows<T>(from, random);
  std::vector<int64_t> index(to.rows);
  for (int64_t& row : index) {
    row = std::uniform_int_distribution<int64_t>(-1, from.rows - 1)(random);
  }
  const DeviceRows<T> device_x(x);
  const DeviceRows<T> device_out(to);
  const DeviceArray<int64_t> index64(index);
  const DeviceArray<int32_t> index32(std::vector<int32_t>(index.begin(), index.end()));
  launch_gather_rows({.x = device_x.data(),
                      .out = device_out.data(),
                      .index32 = wide ? nullptr : index32.data(),
                      .index64 = wide ? index64.data() : nullptr,
                      .rows = to.rows,
                      .cols = to.cols,
                      .x_stride = from.stride(),
                      .out_stride = to.stride(),
                      .element_bytes = sizeof(T)},
                     nullptr);
  const Rows<T> out = device_out.download();
  for (int64_t row = 0; row < to.rows; ++row) {
    const std::vector<T> untouched = DeviceArray<T>::poison(to.cols);
    const T* want = index[row] < 0 ? untouched.data() : x.values.data() + from.place(index[row], 0);
    ASSERT_EQ(std::memcmp(out.values.data() + to.place(row, 0), want, to.cols * sizeof(T)), 0)
        << "row " << row << " from " << index[row];
  }
}

TEST_F(CudaOpsElementwise, GatherRows) {
  for (const int64_t cols : {1, 6, 96, 2048, 2049}) {
    for (const int64_t rows : {0, 1, 70}) {
      for (const auto& [gap, shift] :
           {std::pair{0, 0}, std::pair{8, 8}, std::pair{2, 2}, std::pair{1, 1}}) {
        for (const bool wide : {false, true}) {
          check_gather<float>({23, cols, gap, 0}, {rows, cols, 2 * gap, shift}, wide, random_);
          check_gather<bf16>({23, cols, gap, 0}, {rows, cols, 2 * gap, shift}, wide, random_);
        }
      }
    }
  }
}

}  // namespace
}  // namespace hopskip::cuda
