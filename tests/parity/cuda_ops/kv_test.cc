// Appending to the paged cache and expanding an FP8 one, against the obvious.
#include <cuda_fp8.h>

#include <limits>
#include <numeric>

#include "base/float8.h"
#include "kernels/cuda/smxx/kv_append/launch.h"
#include "kernels/cuda/smxx/kv_expand/launch.h"
#include "parity/cuda_ops/ops_support.h"

namespace hopskip::cuda {
namespace {

using test::DeviceArray;
using test::DeviceRows;
using test::Layout;
using test::normal_rows;
using test::Rows;

using CudaOpsKvAppend = test::OpsTest;
using CudaOpsKvExpand = test::OpsTest;

struct AppendCase {
  int cols;
  int gap;
  int shift;
};
constexpr AppendCase kAppendCases[] = {{1024, 0, 0}, {512, 4096, 8}, {192, 3, 1},  {20, 0, 0},
                                       {64, 0, 0},   {1000, 8, 0},   {8192, 0, 0}, {2056, 0, 16}};

// Each token's slot, in no order; some tokens have none.
std::vector<int64_t> make_slots(int64_t tokens, int64_t capacity, std::mt19937_64& random) {
  std::vector<int64_t> all(capacity);
  std::iota(all.begin(), all.end(), 0);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(tokens);
  for (int64_t token = 2; token < tokens; token += 5) {
    all[token] = -1;
  }
  return all;
}

// Store is bf16 or uint8_t, `stored` what it makes of a value.
template <typename Store, typename Convert>
void check_append(const AppendCase& c, int64_t tokens, const Convert& stored,
                  std::mt19937_64& random) {
  constexpr int64_t kCapacity = 7 * 16;
  SCOPED_TRACE(
      fmt::format("{} tokens of {}, gap {}, {} bytes", tokens, c.cols, c.gap, sizeof(Store)));
  const Layout layout{tokens, c.cols, c.gap, c.shift};
  const Rows<bf16> k = normal_rows<bf16>(layout, random, 30.0f);
  const Rows<bf16> v = normal_rows<bf16>(layout, random, 300.0f);  // some beyond 448 · v_scale
  const std::vector<int64_t> slots = make_slots(tokens, kCapacity, random);
  const DeviceRows<bf16> device_k(k);
  const DeviceRows<bf16> device_v(v);
  const DeviceArray<int64_t> device_slots(slots);
  const DeviceArray<Store> k_cache(kCapacity * c.cols);
  const DeviceArray<Store> v_cache(kCapacity * c.cols);
  const KvAppendArgs args{.k = device_k.data(),
                          .v = device_v.data(),
                          .k_cache = k_cache.data(),
                          .v_cache = v_cache.data(),
                          .slots = device_slots.data(),
                          .tokens = tokens,
                          .k_stride = layout.stride(),
                          .v_stride = layout.stride(),
                          .cols = c.cols,
                          .cache_is_fp8 = sizeof(Store) == 1,
                          .k_scale = 0.3f,
                          .v_scale = 1.7f};
  launch_kv_append(args, nullptr);
  std::vector<Store> want_k = DeviceArray<Store>::poison(kCapacity * c.cols);
  std::vector<Store> want_v = want_k;
  for (int64_t token = 0; token < tokens; ++token) {
    for (int col = 0; col < c.cols && slots[token] >= 0; ++col) {
      want_k[slots[token] * c.cols + col] = stored(k.get(token, col), args.k_scale);
      want_v[slots[token] * c.cols + col] = stored(v.get(token, col), args.v_scale);
    }
  }
  const auto equal = [](const std::vector<Store>& a, const std::vector<Store>& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(Store)) == 0;
  };
  EXPECT_TRUE(equal(k_cache.download(), want_k));
  EXPECT_TRUE(equal(v_cache.download(), want_v));
}

// What is stored of a value in FP8: the launcher's definition, in fp32.
uint8_t stored_fp8(double value, float scale) {
  return fp8_e4m3(static_cast<float>(value) * (1.0f / scale)).bits;
}

TEST_F(CudaOpsKvAppend, ScattersRows) {
  for (const AppendCase& c : kAppendCases) {
    for (const int64_t tokens : {0, 1, 64, 100}) {
      check_append<bf16>(
          c, tokens, [](double value, float) { return bf16(static_cast<float>(value)); }, random_);
      check_append<uint8_t>(c, tokens, stored_fp8, random_);
    }
  }
}

// The host's conversion is CUDA's own.
TEST_F(CudaOpsKvAppend, TheHostRoundsAsCudaDoes) {
  for (int64_t i = 0; i < 100000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(random_()));
    ASSERT_EQ(fp8_e4m3(value).bits, __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3))
        << value;
  }
}

// Every BF16 value: ties, subnormals, infinities and NaNs among them.
TEST_F(CudaOpsKvAppend, EveryValueInFp8) {
  constexpr int kCols = 1024;
  constexpr int64_t kTokens = 64;
  std::vector<uint16_t> bits(kTokens * kCols);
  std::iota(bits.begin(), bits.end(), uint16_t{0});
  std::vector<int64_t> slots(kTokens);
  std::iota(slots.begin(), slots.end(), 0);
  const DeviceArray<uint16_t> values(bits);
  const DeviceArray<int64_t> device_slots(slots);
  for (const auto& [k_scale, v_scale] :
       {std::pair{1.0f, 0.125f}, std::pair{0.3f, 1.7f}, std::pair{1e-20f, 1e20f}}) {
    const DeviceArray<uint8_t> k_cache(bits.size());
    const DeviceArray<uint8_t> v_cache(bits.size());
    launch_kv_append({.k = values.data(),
                      .v = values.data(),
                      .k_cache = k_cache.data(),
                      .v_cache = v_cache.data(),
                      .slots = device_slots.data(),
                      .tokens = kTokens,
                      .k_stride = kCols,
                      .v_stride = kCols,
                      .cols = kCols,
                      .cache_is_fp8 = true,
                      .k_scale = k_scale,
                      .v_scale = v_scale},
                     nullptr);
    const std::vector<uint8_t> k = k_cache.download();
    const std::vector<uint8_t> v = v_cache.download();
    int64_t wrong = 0;
    for (size_t i = 0; i < bits.size(); ++i) {
      bf16 value;
      value.bits = bits[i];
      wrong += k[i] != stored_fp8(static_cast<float>(value), k_scale);
      wrong += v[i] != stored_fp8(static_cast<float>(value), v_scale);
    }
    EXPECT_EQ(wrong, 0) << "scales " << k_scale << " and " << v_scale;
  }
}

// Every code in every place of a chunk, in pages of sizes that do and do not fill a CTA.
TEST_F(CudaOpsKvExpand, CopiesPagesAsBf16) {
  constexpr int64_t kPages = 9;
  for (const int64_t page_elements : {8, 1024, 1032, 8192, 8200, 65536, 131072}) {
    std::vector<uint8_t> k(kPages * page_elements);
    for (size_t i = 0; i < k.size(); ++i) {
      k[i] = static_cast<uint8_t>(i * 31 + i / 256);
    }
    std::vector<uint8_t> v(k.rbegin(), k.rend());
    const DeviceArray<uint8_t> k_cache(k);
    const DeviceArray<uint8_t> v_cache(v);
    for (const auto& [k_scale, v_scale] :
         {std::pair{1.0f, 1.0f}, std::pair{0.3f, 1.7f}, std::pair{2.0f, 0.125f}}) {
      for (const size_t count : {0, 1, 4, 13}) {
        SCOPED_TRACE(fmt::format("{} pages of {}, scales {} and {}", count, page_elements, k_scale,
                                 v_scale));
        std::vector<int32_t> pages(count);
        for (int32_t& page : pages) {
          page = static_cast<int32_t>(integer(0, kPages - 1));
        }
        const DeviceArray<int32_t> device_pages(pages);
        // One page more, which stays as it is.
        const DeviceArray<uint16_t> k_out((count + 1) * page_elements);
        const DeviceArray<uint16_t> v_out((count + 1) * page_elements);
        launch_kv_expand({.k_cache = k_cache.data(),
                          .v_cache = v_cache.data(),
                          .k_out = k_out.data(),
                          .v_out = v_out.data(),
                          .pages = device_pages.data(),
                          .num_pages = static_cast<int64_t>(count),
                          .page_elements = page_elements,
                          .k_scale = k_scale,
                          .v_scale = v_scale},
                         nullptr);
        const auto wrong = [&](const DeviceArray<uint16_t>& out, const std::vector<uint8_t>& cache,
                               float scale) {
          const std::vector<uint16_t> got = out.download();
          int64_t differ = 0;
          for (size_t i = 0; i < got.size(); ++i) {
            const size_t page = i / page_elements;
            if (page == count) {
              differ += got[i] != 0xffff;
              continue;
            }
            fp8_e4m3 code;
            code.bits = cache[pages[page] * page_elements + i % page_elements];
            bf16 value;
            value.bits = got[i];
            const float want = scale * static_cast<float>(code);
            differ += std::isnan(want) ? !std::isnan(static_cast<float>(value))
                                       : value.bits != bf16(want).bits;
          }
          return differ;
        };
        EXPECT_EQ(wrong(k_out, k, k_scale), 0);
        EXPECT_EQ(wrong(v_out, v, v_scale), 0);
      }
    }
  }
}

}  // namespace
}  // namespace hopskip::cuda
