// Random tensors written by the GPU against the host's, bit by bit.
#include "kernels/cuda/smxx/random_fill/launch.h"

#include "parity/cuda_ops/ops_support.h"
#include "tensor/random_tensor.h"

namespace hopskip::cuda {
namespace {

using test::DeviceArray;

using CudaOpsRandomFill = test::OpsTest;

struct Case {
  const char* name;
  int64_t rows, cols;
  void (*change)(RandomTensor&);
};

constexpr Case kCases[] = {
    {"plain", 300, 1024, [](RandomTensor&) {}},
    {"narrow rows", 5000, 3, [](RandomTensor& t) { t.zero_cols = 1; }},
    {"odd rows", 77, 1001, [](RandomTensor& t) { t.zero_rows = 9; }},
    {"embedding", 600, 250, [](RandomTensor& t) { t.bit_cols = 8; }},
    {"reads", 129, 264,
     [](RandomTensor& t) {
       t.zero_cols = 9;
       t.deviation = 0.0156f;
     }},
    {"marked", 512, 120,
     [](RandomTensor& t) {
       t.zero_cols = 9;
       t.period = 128;
       t.marked_row = 63;
       t.blank_row = 127;
       t.first_mark = 1;
       t.shift = 3;
       t.cycle = 8;
       t.mark = 18.37f;
     }},
    {"vector", 130, 1,
     [](RandomTensor& t) {
       t.deviation = 0.0f;
       t.constant = 1.0f;
       t.period = 130;
       t.marked_row = 63;
       t.mark = 18.37f;
     }},
};

TEST_F(CudaOpsRandomFill, BitsAreTheHosts) {
  for (const Case& c : kCases) {
    RandomTensor tensor;
    tensor.seed = random_();
    tensor.deviation = 1.0f;
    tensor.cols = c.cols;
    c.change(tensor);
    const int64_t elements = c.rows * c.cols;
    std::vector<bf16> want;
    for (int64_t i = 0; i < elements; ++i) {
      want.emplace_back(value_at(tensor, i / c.cols, i % c.cols));
    }
    for (const int64_t shift : {0, 8, 3}) {
      SCOPED_TRACE(fmt::format("{}, {} elements behind a line", c.name, shift));
      const DeviceArray<bf16> short_values(elements + shift + 16);
      const DeviceArray<float> floats(elements + shift + 16);
      launch_random_fill({tensor, short_values.data() + shift, elements, false}, nullptr);
      launch_random_fill({tensor, floats.data() + shift, elements, true}, nullptr);
      const std::vector<bf16> got = short_values.download();
      const std::vector<float> got_floats = floats.download();
      int64_t wrong = 0;
      for (int64_t i = 0; i < elements; ++i) {
        wrong += got[shift + i].bits != want[i].bits;
        wrong += got_floats[shift + i] != static_cast<float>(want[i]);
      }
      EXPECT_EQ(wrong, 0) << "of " << 2 * elements;
      for (int64_t i = 0; i < shift + 16; ++i) {  // before and behind
        const int64_t place = i < shift ? i : elements + i;
        EXPECT_EQ(got[place].bits, 0xffff) << place;
        EXPECT_TRUE(std::isnan(got_floats[place])) << place;
      }
    }
  }
}

TEST_F(CudaOpsRandomFill, NothingIsWrittenOfNothing) {
  launch_random_fill({RandomTensor{}, nullptr, 0, false}, nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

}  // namespace
}  // namespace hopskip::cuda
