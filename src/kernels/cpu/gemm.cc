#include "kernels/cpu/gemm.h"

#include <omp.h>

#include <dnnl.hpp>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tensor/buffer.h"

namespace hopskip {
namespace {

// Prompts end in any number of rows, each a shape of its own; a full cache starts over.
constexpr size_t kMaxPrimitives = 128;

// OpenMP's number of threads belongs to the calling thread; the caller gets its own back.
class OneOmpThread {
 public:
  OneOmpThread() { omp_set_num_threads(1); }
  ~OneOmpThread() { omp_set_num_threads(before_); }
  OneOmpThread(const OneOmpThread&) = delete;
  OneOmpThread& operator=(const OneOmpThread&) = delete;

 private:
  const int before_ = omp_get_max_threads();
};

struct Primitive {
  GemmShape shape;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul matmul;
};

dnnl::memory::data_type dnnl_type(DType dtype) {
  return dtype == DType::kBF16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

Primitive make_primitive(const GemmShape& shape, const dnnl::engine& engine) {
  using dnnl::memory;
  const memory::dims w_strides =
      shape.w_transposed ? memory::dims{1, shape.w_stride} : memory::dims{shape.w_stride, 1};
  const memory::desc x({shape.rows, shape.inner}, dnnl_type(shape.dtype), {shape.x_stride, 1});
  const memory::desc w({shape.inner, shape.cols}, dnnl_type(shape.dtype), w_strides);
  const memory::desc y({shape.rows, shape.cols}, memory::data_type::f32, {shape.y_stride, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (shape.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul::primitive_desc description({x, w, y}, attributes, engine);
  return {shape, description, dnnl::matmul(description)};
}

}  // namespace

struct CpuGemm::State {
  explicit State(int threads) : scratch(threads) {
    for (int i = 0; i < threads; ++i) {
      streams.emplace_back(engine);
    }
  }

  const Primitive* find(const GemmShape& shape) const {
    for (const Primitive& primitive : primitives) {
      if (primitive.shape == shape) {
        return &primitive;
      }
    }
    return nullptr;
  }

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::vector<dnnl::stream> streams;  // one for each thread
  std::vector<Buffer> scratch;        // one for each thread
  std::vector<Primitive> primitives;
};

CpuGemm::CpuGemm(int threads) : state_(std::make_unique<State>(threads)) {}
CpuGemm::~CpuGemm() = default;

void CpuGemm::prepare(std::span<const GemmShape> shapes) {
  // oneDNN divides the work when it builds the code, by the threads it would have then.
  const OneOmpThread one;
  if (state_->primitives.size() > kMaxPrimitives) {
    state_->primitives.clear();
  }
  for (const GemmShape& shape : shapes) {
    if (state_->find(shape) != nullptr) {
      continue;
    }
    try {
      state_->primitives.push_back(make_primitive(shape, state_->engine));
    } catch (const dnnl::error& error) {
      fail(ErrorCode::kUnsupported, "oneDNN cannot multiply {} x {} by {} x {} in {}: {}",
           shape.rows, shape.inner, shape.inner, shape.cols, dtype_name(shape.dtype), error.what());
    }
    const size_t bytes = state_->primitives.back().description.scratchpad_desc().get_size();
    for (Buffer& scratch : state_->scratch) {
      scratch.reserve(bytes);
    }
  }
}

void CpuGemm::run(const GemmShape& shape, const void* x, const void* w, float* y, int thread) {
  const Primitive& primitive = *state_->find(shape);
  const OneOmpThread one;
  const auto memory = [&](const dnnl::memory::desc& desc, const void* data) {
    return dnnl::memory(desc, state_->engine, const_cast<void*>(data));
  };
  const dnnl::matmul::primitive_desc& desc = primitive.description;
  dnnl::stream& stream = state_->streams[thread];
  primitive.matmul.execute(
      stream,
      {{DNNL_ARG_SRC, memory(desc.src_desc(), x)},
       {DNNL_ARG_WEIGHTS, memory(desc.weights_desc(), w)},
       {DNNL_ARG_DST, memory(desc.dst_desc(), y)},
       {DNNL_ARG_SCRATCHPAD, memory(desc.scratchpad_desc(), state_->scratch[thread].data())}});
  stream.wait();
}

}  // namespace hopskip
