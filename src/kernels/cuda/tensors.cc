#include "kernels/cuda/tensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <string_view>

#include "base/check.h"
#include "kernels/cuda/config_check.h"

namespace hopskip::cuda {
namespace {

constexpr int kAlignment = 16;  // bytes; of vector loads and of TMA
constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxStride = int64_t{1} << 39;  // elements: TMA takes strides below 2^40 bytes

template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  check(condition, ErrorCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

bool aligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

void check_pointer(std::string_view name, const void* pointer) {
  require(pointer != nullptr, "{} is null", name);
  require(aligned(pointer, kAlignment), "{} is not aligned to {} bytes", name, kAlignment);
}

template <typename T>
void check_optional(std::string_view name, const T* pointer) {
  require(aligned(pointer, alignof(T)), "{} is not aligned to {} bytes", name, alignof(T));
}

struct Stride {
  std::string_view name;
  int64_t value;
  int64_t extent;  // how many lie one stride apart
};

// No stride may be smaller than what lies within it: rows of `columns` elements of `bytes` bytes,
// and what smaller strides span. Of equal strides the first given is blamed last.
template <size_t kCount>
void check_strides(std::array<Stride, kCount> strides, int columns, int bytes) {
  std::ranges::stable_sort(strides, {}, &Stride::value);
  int64_t within = columns;
  for (const Stride& stride : strides) {
    require(stride.value > 0 && stride.value <= kMaxStride, "{} is {}; it must lie in 1…{}",
            stride.name, stride.value, kMaxStride);
    // What there is only one of may lie anywhere, but descriptors of the tensor want it aligned.
    require(stride.value >= within || stride.extent == 1, "{} is {}; {} elements lie within it",
            stride.name, stride.value, within);
    require(stride.value * bytes % kAlignment == 0,
            "{} of {} elements is not a multiple of {} bytes", stride.name, stride.value,
            kAlignment);
    int64_t span = 0;
    if (__builtin_mul_overflow(stride.value, stride.extent - 1, &span) ||
        __builtin_add_overflow(within, span, &within)) {
      within = std::numeric_limits<int64_t>::max();  // more than any stride
    }
  }
}

int64_t or_default(int64_t stride, int64_t dense) { return stride == 0 ? dense : stride; }

void check_extent(std::string_view name, int64_t value, int64_t planned, std::string_view what) {
  require(value >= planned, "{} is {}, but the plan uses {} {}", name, value, planned, what);
  require(value <= kMaxExtent, "{} is {}; at most {} are possible", name, value, kMaxExtent);
}

void set_queries(const AttentionConfig& config, const AttentionTensors& t, AttentionArgs& args) {
  const int d = config.head_dim;
  args.q = t.q;
  args.out = t.out;
  args.q_head_stride = or_default(t.q_head_stride, d);
  args.q_row_stride = or_default(t.q_row_stride, int64_t{config.num_heads} * d);
  args.out_head_stride = or_default(t.out_head_stride, d);
  args.out_row_stride = or_default(t.out_row_stride, int64_t{config.num_heads} * d);
  constexpr int kBytes = 2;
  check_strides(std::array<Stride, 2>{{{"q_head_stride", args.q_head_stride, config.num_heads},
                                       {"q_row_stride", args.q_row_stride, t.q_rows}}},
                d, kBytes);
  check_strides(std::array<Stride, 2>{{{"out_head_stride", args.out_head_stride, config.num_heads},
                                       {"out_row_stride", args.out_row_stride, t.q_rows}}},
                d, kBytes);
}

void set_keys(const AttentionConfig& config, const AttentionTensors& t, AttentionArgs& args) {
  const int d = config.head_dim;
  const int bytes = config.kv_type == ScalarType::kF8E4M3 ? 1 : 2;
  const int64_t token = int64_t{config.num_kv_heads} * d;
  args.k = t.k;
  args.v = t.v;
  args.page_size = config.page_size;
  args.kv.head = or_default(t.kv_head_stride, d);
  args.kv.token = or_default(t.kv_token_stride, token);
  const Stride head{"kv_head_stride", args.kv.head, config.num_kv_heads};
  if (config.page_size > 0) {
    args.page_log2 = std::countr_zero(static_cast<uint32_t>(config.page_size));
    args.kv.page = or_default(t.kv_page_stride, config.page_size * token);
    check_strides(std::array<Stride, 3>{{head,
                                         {"kv_token_stride", args.kv.token, config.page_size},
                                         {"kv_page_stride", args.kv.page, t.num_pages}}},
                  d, bytes);
  } else {
    require(t.kv_page_stride == 0, "kv_page_stride is {} without pages; leave it 0",
            t.kv_page_stride);
    check_strides(std::array<Stride, 2>{{head, {"kv_token_stride", args.kv.token, t.kv_tokens}}}, d,
                  bytes);
  }
}

}  // namespace

AttentionArgs make_args(const AttentionConfig& config, const AttentionTensors& t,
                        const PlannedExtents& planned) {
  check_pointer("q", t.q);
  check_pointer("out", t.out);
  check_pointer("k", t.k);
  check_pointer("v", t.v);
  check_optional("lse", t.lse);
  check_optional("counts", t.counts);
  check_optional("threshold_log2", t.threshold_log2);
  check_extent("q_rows", t.q_rows, planned.q_rows, "rows");
  if (config.page_size > 0) {
    check_extent("num_pages", t.num_pages, planned.num_pages, "pages");
  } else {
    check_extent("kv_tokens", t.kv_tokens, planned.kv_tokens, "tokens");
  }
  const bool fp8 = config.kv_type == ScalarType::kF8E4M3;
  for (const auto& [name, scale] : {std::pair{"k_scale", t.k_scale}, {"v_scale", t.v_scale}}) {
    require(std::isfinite(scale) && scale > 0.0f, "{} is {}; it must be positive and finite", name,
            scale);
    require(fp8 || scale == 1.0f, "{} is {}; keys and values of {} are not scaled, leave it 1",
            name, scale, scalar_name(config.kv_type));
  }

  AttentionArgs args{};
  set_queries(config, t, args);
  set_keys(config, t, args);
  args.num_heads = config.num_heads;
  args.num_kv_heads = config.num_kv_heads;
  args.group = config.num_heads / config.num_kv_heads;
  args.causal = config.causal ? 1 : 0;
  args.window = config.window;
  args.scale_log2 =
      static_cast<float>(double{shape_of(config).scale} * double{t.k_scale} * std::numbers::log2e);
  args.v_scale = t.v_scale;
  args.lse = t.lse;
  args.counts = t.counts;
  args.threshold_log2 = t.threshold_log2;
  args.skip_map = t.skip_map;
  return args;
}

}  // namespace hopskip::cuda
