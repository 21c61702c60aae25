#include "kernels/reference/reference_backend.h"

#include <algorithm>
#include <cmath>

#include "kernels/contract.h"
#include "tensor/quantize.h"

namespace hopskip {
namespace {

// The bytes as they were given; values are decoded where they are used.
class ReferenceWeight final : public Weight {
 public:
  ReferenceWeight(WeightShape shape, const TensorView& view)
      : Weight(shape.rows, shape.cols, view.dtype),
        random_(random_values(view)),
        data_(view.random ? reinterpret_cast<const std::byte*>(random_.data())
                          : view.as<std::byte>()) {}

  std::vector<float> row(int64_t r) const {
    std::vector<float> values(cols());
    dequantize(dtype(), data_ + r * row_bytes(dtype(), cols()), values.data(), cols());
    return values;
  }
  std::vector<float> all() const {
    std::vector<float> values(rows() * cols());
    dequantize(dtype(), data_, values.data(), rows() * cols());
    return values;
  }

 private:
  std::vector<bf16> random_;
  const std::byte* data_;
};

const ReferenceWeight& of(const Weight& weight) {
  return own_cast<const ReferenceWeight>(weight, "weight");
}

}  // namespace

ReferenceBackend::ReferenceBackend(const BackendOptions& options) : pool_(options.threads) {
  const TilePlan decode{.rows = 1};
  tile_plans_.prefill = options.tile_plans.prefill.value_or(TilePlan{});
  tile_plans_.decode = options.tile_plans.decode.value_or(decode);
}

std::string ReferenceBackend::description() const {
  return fmt::format("reference (scalar fp64, {} thread{})", pool_.size(),
                     pool_.size() == 1 ? "" : "s");
}

HostBytes ReferenceBackend::host_bytes(std::span<const TensorView> weights,
                                       const KvConfig& kv) const {
  HostBytes bytes{.kv_cache = kv.num_pages * kv.bytes_per_page()};
  for (const TensorView& view : weights) {
    (view.random ? bytes.weights : bytes.mapped) += view.bytes();
  }
  return bytes;
}

WeightPtr ReferenceBackend::load(const TensorView& view) {
  return std::make_unique<ReferenceWeight>(weight_shape(view), view);
}

void ReferenceBackend::embed(const Step& step, const Weight& w, Matrix y) {
  clock_.enter(Part::kRest);
  check_embed(step, w, y);
  for (int64_t t = 0; t < y.rows; ++t) {
    const std::vector<float> row = of(w).row(step.inputs().tokens[t]);
    std::copy(row.begin(), row.end(), y.row(t));
  }
}

void ReferenceBackend::rms_norm(Matrix x, const Weight& weight, float eps, Matrix y) {
  clock_.enter(Part::kRest);
  check_rms_norm(x, weight, y);
  const std::vector<float> scale = of(weight).all();
  for (int64_t t = 0; t < x.rows; ++t) {
    double sum = 0.0;
    for (int64_t i = 0; i < x.cols; ++i) {
      sum += double{x.row(t)[i]} * double{x.row(t)[i]};
    }
    const double inverse = 1.0 / std::sqrt(sum / static_cast<double>(x.cols) + double{eps});
    for (int64_t i = 0; i < x.cols; ++i) {
      y.row(t)[i] = static_cast<float>(double{x.row(t)[i]} * inverse * double{scale[i]});
    }
  }
}

void ReferenceBackend::linear(Matrix x, std::span<const LinearTerm> terms) {
  clock_.enter(Part::kLinear);
  check_linear(x, terms);
  for (const LinearTerm& term : terms) {
    const ReferenceWeight& w = of(*term.w);
    const std::vector<float> bias =
        term.bias != nullptr ? of(*term.bias).all() : std::vector<float>(w.rows());
    pool_.parallel_for(w.rows(), [&](int64_t o, int) {
      const std::vector<float> row = w.row(o);
      for (int64_t t = 0; t < x.rows; ++t) {
        double sum = bias[o];
        for (int64_t i = 0; i < x.cols; ++i) {
          sum += double{x.row(t)[i]} * double{row[i]};
        }
        float& y = term.y.row(t)[o];
        y = static_cast<float>(term.accumulate ? double{y} + sum : sum);
      }
    });
  }
}

void ReferenceBackend::rope(const Step& step, Matrix x, int head_dim, const Rope& rope) {
  clock_.enter(Part::kRest);
  check_rope(step, x, head_dim, rope);
  const std::span<const int32_t> positions = step.inputs().positions;
  const int64_t half = std::ssize(rope.inv_freq);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = double(positions[t]) * double{rope.inv_freq[i]};
      const double cos = std::cos(angle) * double{rope.magnitude};
      const double sin = std::sin(angle) * double{rope.magnitude};
      for (float* head = x.row(t); head < x.row(t) + x.cols; head += head_dim) {
        float& first = head[rope.interleaved ? 2 * i : i];
        float& second = head[rope.interleaved ? 2 * i + 1 : i + half];
        const double a = first;
        const double b = second;
        first = static_cast<float>(a * cos - b * sin);
        second = static_cast<float>(b * cos + a * sin);
      }
    }
  }
}

void ReferenceBackend::silu_mul(Matrix gate, Matrix up, Matrix out) {
  clock_.enter(Part::kRest);
  check_silu_mul(gate, up, out);
  for (int64_t t = 0; t < gate.rows; ++t) {
    for (int64_t i = 0; i < gate.cols; ++i) {
      const double g = gate.row(t)[i];
      out.row(t)[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * double{up.row(t)[i]});
    }
  }
}

void ReferenceBackend::gather_rows(const Step& step, Matrix x, Matrix y) {
  clock_.enter(Part::kRest);
  check_gather_rows(step, x, y);
  for (int64_t i = 0; i < y.rows; ++i) {
    std::copy_n(x.row(step.inputs().rows[i]), x.cols, y.row(i));
  }
}

void ReferenceBackend::clear(Matrix x) {
  clock_.enter(Part::kRest);
  for (int64_t i = 0; i < x.rows; ++i) {
    std::fill_n(x.row(i), x.cols, 0.0f);
  }
}

std::span<const float> ReferenceBackend::read(Matrix x) {
  check(x.stride == x.cols, ErrorCode::kInvalidArgument, "read: the rows are not adjacent");
  return {x.values(), static_cast<size_t>(x.rows * x.cols)};
}

void ReferenceBackend::top_candidates(Matrix logits, Matrix out) {
  clock_.enter(Part::kRest);
  const int64_t count = check_top_candidates(logits, out);
  for (int64_t row = 0; row < logits.rows; ++row) {
    const float* x = logits.row(row);
    std::vector<Candidate> order(logits.cols);
    for (int64_t i = 0; i < logits.cols; ++i) {
      order[i] = {static_cast<int32_t>(i), std::isnan(x[i]) ? -INFINITY : x[i]};
    }
    std::sort(order.begin(), order.end(), before);
    double sum = 0.0;  // NaN where x has one, or its largest is infinite
    for (int64_t i = 0; i < logits.cols; ++i) {
      sum += std::exp(double{x[i]} - double{order[0].logit});
    }
    auto* to = reinterpret_cast<Candidate*>(out.row(row));
    *to = {static_cast<int32_t>(count), static_cast<float>(sum)};
    std::copy_n(order.begin(), count, to + 1);
  }
}

CandidateRows ReferenceBackend::read_candidates(Matrix candidates) {
  check_read_candidates(candidates);
  return {static_cast<const Candidate*>(candidates.data), candidates.rows,
          candidate_count(candidates.cols)};
}

}  // namespace hopskip
