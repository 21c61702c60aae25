#include "kernels/cuda/backend/weights.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"
#include "base/mapped_file.h"
#include "kernels/cuda/smxx/random_fill/launch.h"
#include "tensor/quantize.h"

namespace hopskip::cuda {
namespace {

constexpr int64_t kStagingBytes = int64_t{64} << 20;
// A thread's piece: some 50 µs of copying, and whole blocks of every format (256 is the largest).
constexpr int64_t kPieceElements = int64_t{256} << 10;
constexpr int64_t kBlockElements = 4096;  // decoded at a time: stays in the first-level cache

}  // namespace

const float* CudaWeight::vector() const {
  check(f32_ != nullptr, ErrorCode::kInvalidArgument, "a {} x {} weight where a vector is wanted",
        rows(), cols());
  return reinterpret_cast<const float*>(f32_.get());
}

int64_t bytes_on_device(std::span<const TensorView> tensors) {
  int64_t bytes = 0;
  for (const TensorView& tensor : tensors) {
    const int64_t each =
        block_bytes(DType::kBF16) + (tensor.rank == 1 ? block_bytes(DType::kF32) : 0);
    bytes += tensor.elements() * each;
  }
  return bytes;
}

WeightPtr WeightLoader::load(const TensorView& view) {
  const WeightShape shape = weight_shape(view);
  DeviceMemory bf16_copy = copy({&view, 1}, DType::kBF16);
  DeviceMemory f32_copy = view.rank == 1 ? copy({&view, 1}, DType::kF32) : nullptr;
  const int64_t bytes =
      view.elements() * (block_bytes(DType::kBF16) + (f32_copy ? block_bytes(DType::kF32) : 0));
  return std::make_unique<CudaWeight>(shape, std::move(bf16_copy), std::move(f32_copy),
                                      CountedBytes(in_use_, bytes));
}

WeightPtr WeightLoader::load_experts(std::span<const TensorView> experts) {
  const WeightShape one = weight_shape(experts.front());
  const WeightShape all{one.rows * std::ssize(experts), one.cols};
  return std::make_unique<CudaWeight>(
      all, copy(experts, DType::kBF16), nullptr,
      CountedBytes(in_use_, all.rows * all.cols * block_bytes(DType::kBF16)));
}

DeviceMemory WeightLoader::copy(std::span<const TensorView> views, DType dtype) {
  const int64_t bytes = views.front().elements() * block_bytes(dtype);
  DeviceMemory memory =
      allocate_device(std::ssize(views) * bytes, "a weight", "take a smaller model");
  for (size_t i = 0; i < views.size(); ++i) {
    copy(views[i], dtype, memory.get() + i * bytes);
  }
  return memory;
}

void WeightLoader::copy(const TensorView& view, DType dtype, std::byte* target) {
  if (view.random) {
    launch_random_fill({*view.random, target, view.elements(), dtype == DType::kF32}, stream_);
    return;
  }
  const int64_t element = block_bytes(dtype);
  const int64_t step = kStagingBytes / element;
  for (int64_t begin = 0; begin < view.elements(); begin += step) {
    Staging& staging = staging_[next_];
    next_ = (next_ + 1) % staging_.size();
    if (staging.memory == nullptr) {
      staging = {allocate_pinned(kStagingBytes, "loading weights"), make_event()};
    }
    check_cuda(cudaEventSynchronize(staging.copied.get()), "copy a weight");
    const int64_t count = std::min(step, view.elements() - begin);
    convert(view, begin, count, dtype, staging.memory.get());
    if (view.mapped) {  // a large tensor would else fill the host's memory before its end
      const int64_t first = row_bytes(view.dtype, begin);
      release_mapped({view.as<std::byte>() + first,
                      static_cast<size_t>(row_bytes(view.dtype, begin + count) - first)});
    }
    check_cuda(cudaMemcpyAsync(target + begin * element, staging.memory.get(), count * element,
                               cudaMemcpyHostToDevice, stream_),
               "copy a weight");
    check_cuda(cudaEventRecord(staging.copied.get(), stream_), "copy a weight");
  }
}

void WeightLoader::convert(const TensorView& view, int64_t begin, int64_t count, DType dtype,
                           std::byte* dst) {
  const std::byte* src = view.as<std::byte>();
  decoded_.resize(pool_.size());
  const int64_t pieces = (count + kPieceElements - 1) / kPieceElements;
  pool_.parallel_for(pieces, [&](int64_t piece, int thread) {
    const int64_t first = piece * kPieceElements;
    const int64_t end = std::min(count, first + kPieceElements);
    if (view.dtype == dtype) {
      std::memcpy(dst + row_bytes(dtype, first), src + row_bytes(dtype, begin + first),
                  row_bytes(dtype, end - first));
      return;
    }
    std::vector<float>& floats = decoded_[thread];
    floats.resize(kBlockElements);
    for (int64_t i = first; i < end; i += kBlockElements) {
      const int64_t part = std::min(kBlockElements, end - i);
      const std::byte* from = src + row_bytes(view.dtype, begin + i);
      if (dtype == DType::kF32) {
        dequantize(view.dtype, from, reinterpret_cast<float*>(dst) + i, part);
      } else {
        dequantize(view.dtype, from, floats.data(), part);
        std::transform(floats.begin(), floats.begin() + part, reinterpret_cast<bf16*>(dst) + i,
                       [](float value) { return bf16(value); });
      }
    }
  });
}

void WeightLoader::free_buffers() {
  for (Staging& staging : staging_) {
    if (staging.memory != nullptr) {
      check_cuda(cudaEventSynchronize(staging.copied.get()), "copy a weight");
      staging = {};
    }
  }
}

}  // namespace hopskip::cuda
