#include "parity/cuda/gpu_problem.h"

#include <cuda_fp8.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>

#include "attention/skip_rule.h"
#include "base/float16.h"

namespace hopskip::test {
namespace {

// Scales whose products with FP8 values are exact in float.
constexpr float kKeyScale = 0.75f;
constexpr float kValueScale = 1.25f;
constexpr int64_t kNobodysRows = 3;  // between sequences, in front and behind
constexpr int64_t kNobodysPages = 2;

uint16_t to_bits16(ScalarType type, float value) {
  return type == ScalarType::kBF16 ? bf16(value).bits : fp16(value).bits;
}

float from_bits16(ScalarType type, uint16_t bits) {
  if (type == ScalarType::kBF16) {
    bf16 value;
    value.bits = bits;
    return static_cast<float>(value);
  }
  fp16 value;
  value.bits = bits;
  return static_cast<float>(value);
}

uint8_t to_fp8(float value) { return __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3); }

float from_fp8(uint8_t bits) {
  const __half_raw half = __nv_cvt_fp8_to_halfraw(bits, __NV_E4M3);
  fp16 value;
  value.bits = half.x;
  return static_cast<float>(value);
}

// What a kernel reads back of a value that is stored as `type`, divided by `scale`.
float stored(ScalarType type, float value, float scale) {
  return type == ScalarType::kF8E4M3 ? from_fp8(to_fp8(value / scale)) * scale
                                     : from_bits16(type, to_bits16(type, value));
}

struct KvStrides {
  int64_t page;
  int64_t token;
  int64_t head;
};

KvStrides kv_strides(const Problem& p) {
  const AttentionConfig& c = p.config;
  const int64_t tokens = c.page_size > 0 ? c.page_size : p.kv_tokens;
  if (p.layout == Layout::kHeadsFirst) {
    return {tokens * c.num_kv_heads * c.head_dim, c.head_dim, tokens * c.head_dim};
  }
  return {tokens * c.num_kv_heads * c.head_dim, int64_t{c.num_kv_heads} * c.head_dim, c.head_dim};
}

// Bytes of k or v; NaN wherever no key is: a byte of ones is NaN in all three types.
std::vector<uint8_t> pack_kv(const Problem& p, std::vector<float> AttentionData::*values,
                             float scale) {
  const AttentionConfig& c = p.config;
  const bool fp8 = c.kv_type == ScalarType::kF8E4M3;
  const KvStrides strides = kv_strides(p);
  const int64_t pages = c.page_size > 0 ? p.num_pages : 1;
  std::vector<uint8_t> bytes(pages * strides.page * (fp8 ? 1 : 2), 0xff);
  for (size_t i = 0; i < p.cases.size(); ++i) {
    const float* source = (p.data[i].*values).data();
    for (int64_t key = 0; key < p.cases[i].kv_len; ++key) {
      const int64_t token = c.page_size > 0 ? key % c.page_size : p.sequences[i].kv_begin + key;
      const int64_t page = c.page_size > 0 ? p.pages[i][key / c.page_size] : 0;
      for (int head = 0; head < c.num_kv_heads; ++head) {
        const int64_t to = page * strides.page + token * strides.token + head * strides.head;
        for (int d = 0; d < c.head_dim; ++d) {
          const float value = *source++;
          if (fp8) {
            bytes[to + d] = to_fp8(value / scale);
          } else {
            const uint16_t bits = to_bits16(c.kv_type, value);
            std::memcpy(&bytes[2 * (to + d)], &bits, 2);
          }
        }
      }
    }
  }
  return bytes;
}

std::vector<uint16_t> pack_q(const Problem& p) {
  std::vector<uint16_t> bits(p.q_rows * p.q_row_stride(), 0xffff);
  const int64_t columns = int64_t{p.config.num_heads} * p.config.head_dim;
  for (size_t i = 0; i < p.cases.size(); ++i) {
    for (int64_t row = 0; row < p.cases[i].q_len; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        bits[(p.sequences[i].q_begin + row) * p.q_row_stride() + column] =
            to_bits16(p.config.q_type, p.data[i].q[row * columns + column]);
      }
    }
  }
  return bits;
}

bool bits_equal(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

void require_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw std::runtime_error(fmt::format("cannot {}: {}", what, cudaGetErrorString(error)));
  }
}

int64_t Problem::q_row_stride() const {
  const int64_t dense = int64_t{config.num_heads} * config.head_dim;
  return layout == Layout::kHeadsFirst ? dense + 64 : dense;
}

ReferenceInput Problem::input(size_t i) const {
  return {shape,           cases[i].q_len, cases[i].kv_len, data[i].q.data(), data[i].k.data(),
          data[i].v.data()};
}

AttentionConfig config_of(const AttentionCase& c, Phase phase, const ProblemOptions& options) {
  AttentionConfig config;
  config.phase = phase;
  config.num_heads = c.num_heads;
  config.num_kv_heads = c.num_kv_heads;
  config.head_dim = c.head_dim;
  config.q_type = options.q_type;
  config.kv_type = options.kv_type;
  config.causal = c.causal;
  config.window = c.window;
  config.page_size = c.page_size;
  config.max_sequences = static_cast<int>(c.sequences.size()) + 1;
  for (const SequenceCase& s : c.sequences) {
    config.max_pages += c.page_size > 0 ? s.kv_len / c.page_size + 1 : 0;
  }
  config.kernel = options.kernel;
  return config;
}

Problem make_problem(const AttentionCase& c, Phase phase, const ProblemOptions& options) {
  std::mt19937_64 random(options.seed);
  Problem p;
  p.config = config_of(c, phase, options);
  p.layout = options.layout;
  p.shape.num_heads = c.num_heads;
  p.shape.num_kv_heads = c.num_kv_heads;
  p.shape.head_dim = c.head_dim;
  p.shape.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  p.shape.window = c.window;
  p.shape.causal = c.causal;
  if (options.kv_type == ScalarType::kF8E4M3) {
    p.k_scale = kKeyScale;
    p.v_scale = kValueScale;
  }
  for (const SequenceCase& s : c.sequences) {
    if (s.phase == phase && (phase == Phase::kPrefill || s.q_len == 1)) {
      p.cases.push_back(s);
    }
  }
  for (const SequenceCase& s : p.cases) {
    const auto round = [&](float x) { return stored(options.q_type, x, 1.0f); };
    AttentionData& data = p.data.emplace_back(
        make_attention_data(s.q_len, s.kv_len, c.num_heads, c.num_kv_heads, c.head_dim,
                            p.shape.scale, c.stretch, 0.5, 20.0f, random, round));
    for (float& value : data.k) {
      value = stored(options.kv_type, value, p.k_scale);
    }
    for (float& value : data.v) {
      value = stored(options.kv_type, value, p.v_scale);
    }
    PlannedSequence& sequence = p.sequences.emplace_back();
    p.q_rows += kNobodysRows;
    sequence.q_begin = p.q_rows;
    sequence.q_len = s.q_len;
    sequence.kv_len = s.kv_len;
    sequence.factor = c.factor;
    p.q_rows += s.q_len;
    if (c.page_size > 0) {
      p.pages.emplace_back((s.kv_len + c.page_size - 1) / c.page_size);
      p.num_pages += std::ssize(p.pages.back());
    } else {
      p.kv_tokens += kNobodysRows;
      sequence.kv_begin = p.kv_tokens;
      p.kv_tokens += s.kv_len;
    }
  }
  p.q_rows += kNobodysRows;
  p.kv_tokens += c.page_size > 0 ? 0 : kNobodysRows;
  p.num_pages += c.page_size > 0 ? kNobodysPages : 0;
  std::vector<int32_t> order(p.num_pages);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  size_t next = 0;
  for (size_t i = 0; i < p.pages.size(); ++i) {
    for (int32_t& page : p.pages[i]) {
      page = order[next++];
    }
    p.sequences[i].pages = p.pages[i];
  }
  return p;
}

bool GpuResult::operator==(const GpuResult& other) const {
  return out == other.out && bits_equal(lse, other.lse) && counts == other.counts &&
         skip_map == other.skip_map;
}

GpuProblem::GpuProblem(const Problem& p)
    : problem_(p),
      q_(pack_q(p)),
      k_(pack_kv(p, &AttentionData::k, p.k_scale)),
      v_(pack_kv(p, &AttentionData::v, p.v_scale)),
      out_(p.q_rows * p.q_row_stride()),
      lse_(p.q_rows * p.config.num_heads),
      counts_(p.cases.size() * p.config.num_heads),
      thresholds_(std::vector<float>(p.cases.size(), kDenseThresholdLog2)) {}

void GpuProblem::reset(const Attention& attention) {
  const auto& p = problem_;
  require_cuda(cudaDeviceSynchronize(), "finish");
  require_cuda(cudaMemset(out_.get(), 0xff, 2 * p.q_rows * p.q_row_stride()), "poison");
  require_cuda(cudaMemset(lse_.get(), 0xff, 4 * p.q_rows * p.config.num_heads), "poison");
  counts_.upload(std::vector<SkipCounts>(p.cases.size() * p.config.num_heads, kInitialCounts));
  skip_map_.emplace(std::vector<uint8_t>(attention.skip_map_bytes(), 0));
}

AttentionTensors GpuProblem::tensors(bool with_thresholds) const {
  const auto& p = problem_;
  const KvStrides strides = kv_strides(p);
  AttentionTensors t;
  t.q = q_.get();
  t.out = out_.get();
  t.k = k_.get();
  t.v = v_.get();
  if (p.layout == Layout::kHeadsFirst) {
    t.q_row_stride = p.q_row_stride();
    t.out_row_stride = p.q_row_stride();
    t.kv_page_stride = p.config.page_size > 0 ? strides.page : 0;
    t.kv_token_stride = strides.token;
    t.kv_head_stride = strides.head;
  }
  t.q_rows = p.q_rows;
  t.kv_tokens = p.kv_tokens;
  t.num_pages = p.num_pages;
  t.k_scale = p.k_scale;
  t.v_scale = p.v_scale;
  t.lse = lse_.get();
  t.counts = counts_.get();
  t.threshold_log2 = with_thresholds ? thresholds_.get() : nullptr;
  t.skip_map = skip_map_ ? skip_map_->get() : nullptr;
  return t;
}

GpuResult GpuProblem::result() const {
  return {out_.download(), lse_.download(), counts_.download(), skip_map_->download()};
}

GpuResult run_once(Attention& attention, const Problem& problem, GpuProblem& gpu,
                   std::optional<float> threshold) {
  attention.plan(problem.sequences);
  gpu.reset(attention);
  if (threshold) {
    gpu.set_thresholds(std::vector<float>(problem.cases.size(), *threshold));
  }
  attention.run(gpu.tensors(threshold.has_value()));
  return gpu.result();
}

}  // namespace hopskip::test
