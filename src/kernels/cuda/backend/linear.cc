#include "kernels/cuda/backend/linear.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "kernels/cuda/backend/weights.h"
#include "kernels/cuda/sm90/gemv/launch.h"
#include "kernels/cuda/smxx/gemv/launch.h"

namespace hopskip::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA recommends for Hopper
// Every length of a prompt's last chunk is a shape of its own.
constexpr size_t kMaxProducts = 4096;
constexpr int kBestAlignment = 256;

int alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  return address == 0 ? kBestAlignment
                      : static_cast<int>(std::min<uintptr_t>(
                            kBestAlignment, uintptr_t{1} << std::countr_zero(address)));
}

template <typename T>
void set(const CublasLt& library, cublasLtMatmulDesc_t desc,
         cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check_cublas(library.MatmulDescSetAttribute(desc, attribute, &value, sizeof(value)),
               "describe a product");
}

// From here on cuBLASLt is faster (docs/kernels/gpu_ops.md).
constexpr int64_t kFewTokens = kGemvMaxTokens;

GemvTerm gemv_term(const LinearTerm& term) {
  return {.w = cuda_weight(*term.w).bf16(),
          .bias = term.bias != nullptr ? cuda_weight(*term.bias).vector() : nullptr,
          .y = term.y.data,
          .y_stride = term.y.stride,
          .out = static_cast<int32_t>(term.w->rows()),
          .y_is_f32 = term.y.dtype == DType::kF32,
          .accumulate = term.accumulate};
}

GemvArgs gemv_args(Matrix x, std::span<const LinearTerm> terms) {
  GemvArgs args{.x = x.data,
                .x_stride = x.stride,
                .tokens = static_cast<int32_t>(x.rows),
                .in = static_cast<int32_t>(x.cols),
                .num_terms = static_cast<int32_t>(terms.size())};
  std::ranges::transform(terms, args.terms, gemv_term);
  return args;
}

GemvArgs gemv_args(const NormedInput& in, std::span<const LinearTerm> terms) {
  GemvArgs args = gemv_args(in.x, terms);
  args.norm = cuda_weight(*in.norm).vector();
  args.eps = in.eps;
  return args;
}

// Calls launch(terms) for as many terms at a time as a launch takes.
template <typename Launch>
void for_terms(std::span<const LinearTerm> terms, const Launch& launch) {
  for (size_t i = 0; i < terms.size(); i += kGemvMaxTerms) {
    launch(terms.subspan(i, std::min<size_t>(kGemvMaxTerms, terms.size() - i)));
  }
}

bool on_lines(Matrix x) {
  return x.cols % 8 == 0 && x.stride % 8 == 0 && reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
}

// Owner of a descriptor.
template <typename T>
class Owned {
 public:
  explicit Owned(cublasStatus_t (*destroy)(T)) : destroy_(destroy) {}
  ~Owned() {
    if (handle_ != nullptr) {
      destroy_(handle_);
    }
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  T* put() { return &handle_; }
  T get() const { return handle_; }

 private:
  cublasStatus_t (*destroy_)(T);
  T handle_ = nullptr;
};

}  // namespace

// cuBLASLt's matrices are column-major, so a row-major [rows][cols] is its cols x rows: it computes
// yᵀ [out x tokens] = w [in x out]ᵀ · x [in x tokens].
struct CudaLinear::Product {
  explicit Product(const CublasLt& library)
      : desc(library.MatmulDescDestroy),
        w(library.MatrixLayoutDestroy),
        x(library.MatrixLayoutDestroy),
        y(library.MatrixLayoutDestroy) {}

  Owned<cublasLtMatmulDesc_t> desc;
  Owned<cublasLtMatrixLayout_t> w, x, y;
  cublasLtMatmulAlgo_t algorithm{};
};

CudaLinear::CudaLinear(bool is_hopper)
    : is_hopper_(is_hopper),
      library_(cublas_lt()),
      workspace_(allocate_device(kWorkspaceBytes, "cuBLASLt's workspace")) {
  const cublasStatus_t status = library_.Create(&handle_);
  check(status == CUBLAS_STATUS_SUCCESS, ErrorCode::kDevice, "{}",
        cublas_start_failure(library_.GetStatusString(status), library_.GetVersion(),
                             driver_version()));
}

CudaLinear::~CudaLinear() {
  products_.clear();
  library_.Destroy(handle_);
}

CudaLinear::Product& CudaLinear::product(const Key& key, const void* bias) {
  if (const auto found = products_.find(key); found != products_.end()) {
    return *found->second;
  }
  if (products_.size() >= kMaxProducts) {
    products_.clear();
  }
  auto product = std::make_unique<Product>(library_);
  const cudaDataType_t y_type = key.y_is_f32 ? CUDA_R_32F : CUDA_R_16BF;
  const auto layout = [&](cublasLtMatrixLayout_t* put, cudaDataType_t type, int64_t rows,
                          int64_t cols, int64_t stride) {
    check_cublas(library_.MatrixLayoutCreate(put, type, static_cast<uint64_t>(rows),
                                             static_cast<uint64_t>(cols), stride),
                 "describe a matrix");
  };
  layout(product->w.put(), CUDA_R_16BF, key.in, key.out, key.in);
  layout(product->x.put(), CUDA_R_16BF, key.in, key.tokens, key.x_stride);
  layout(product->y.put(), y_type, key.out, key.tokens, key.y_stride);

  check_cublas(library_.MatmulDescCreate(product->desc.put(), CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "describe a product");
  set(library_, product->desc.get(), CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (key.has_bias) {
    set(library_, product->desc.get(), CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(library_, product->desc.get(), CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, y_type);
    set(library_, product->desc.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }

  Owned<cublasLtMatmulPreference_t> preference(library_.MatmulPreferenceDestroy);
  check_cublas(library_.MatmulPreferenceCreate(preference.put()), "state a preference");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_cublas(
        library_.MatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
        "state a preference");
  };
  const auto x_alignment = static_cast<uint32_t>(key.x_alignment);
  const auto y_alignment = static_cast<uint32_t>(key.y_alignment);
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
  // Parts of a sum that is split over CTAs meet in F32, not in the type of y.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, x_alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, y_alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, y_alignment);

  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = library_.MatmulAlgoGetHeuristic(
      handle_, product->desc.get(), product->w.get(), product->x.get(), product->y.get(),
      product->y.get(), preference.get(), 1, &best, &found);
  check(status == CUBLAS_STATUS_SUCCESS && found > 0 && best.state == CUBLAS_STATUS_SUCCESS,
        ErrorCode::kUnsupported, "cuBLASLt has no product of {} x {} with {} x {} in BF16: {}",
        key.tokens, key.in, key.out, key.in, library_.GetStatusString(status));
  product->algorithm = best.algo;
  return *(products_[key] = std::move(product));
}

void CudaLinear::operator()(Matrix x, std::span<const LinearTerm> terms, cudaStream_t stream) {
  if (x.rows == 0) {
    return;
  }
  if (takes(x)) {
    for_terms(terms, [&](auto some) { multiply(gemv_args(x, some), stream); });
    return;
  }
  for (const LinearTerm& term : terms) {
    multiply(x, term, stream);
  }
}

bool CudaLinear::takes(Matrix x) { return x.rows <= kFewTokens && on_lines(x); }

bool CudaLinear::takes_norm(const NormedInput& in) {
  return gemv_takes_norm(in.x.rows, in.x.cols) && in.x.dtype == DType::kF32 && on_lines(in.x);
}

void CudaLinear::normed(const NormedInput& in, std::span<const LinearTerm> terms,
                        cudaStream_t stream) const {
  for_terms(terms, [&](auto some) { multiply(gemv_args(in, some), stream); });
}

void CudaLinear::gated(const NormedInput& in, const LinearTerm& gate, const LinearTerm& up,
                       cudaStream_t stream) const {
  const LinearTerm both[] = {gate, up};
  GemvArgs args = takes_norm(in) ? gemv_args(in, both) : gemv_args(in.y, both);
  args.gated = true;
  multiply(args, stream);
}

void CudaLinear::multiply(const GemvArgs& args, cudaStream_t stream) const {
  if (is_hopper_ && gemv_stream_takes(args.tokens, args.in)) {
    launch_gemv_stream(args, stream);
  } else {
    launch_gemv(args, stream);
  }
}

void CudaLinear::multiply(Matrix x, const LinearTerm& term, cudaStream_t stream) {
  const CudaWeight& w = cuda_weight(*term.w);
  const bool y_is_f32 = term.y.dtype == DType::kF32;
  const void* bias = nullptr;
  if (term.bias != nullptr) {  // has the type of y
    const CudaWeight& vector = cuda_weight(*term.bias);
    bias = y_is_f32 ? static_cast<const void*>(vector.vector()) : vector.bf16();
  }
  const Key key{x.rows,
                x.cols,
                w.rows(),
                x.stride,
                term.y.stride,
                alignment_of(x.data),
                alignment_of(term.y.data),
                y_is_f32,
                term.accumulate,
                bias != nullptr};
  const Product& chosen = product(key, bias);
  if (bias != nullptr) {
    set(library_, chosen.desc.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  const float one = 1.0f;
  const float beta = term.accumulate ? 1.0f : 0.0f;
  check_cublas(
      library_.Matmul(handle_, chosen.desc.get(), &one, w.bf16(), chosen.w.get(), x.data,
                      chosen.x.get(), &beta, term.y.data, chosen.y.get(), term.y.data,
                      chosen.y.get(), &chosen.algorithm, workspace_.get(), kWorkspaceBytes, stream),
      "multiply");
}

}  // namespace hopskip::cuda
