// The mixture of experts of ReferenceBackend: every token by itself, every product in double.
#include <algorithm>
#include <cmath>
#include <list>
#include <numeric>
#include <vector>

#include "kernels/contract.h"
#include "kernels/reference/reference_backend.h"
#include "tensor/quantize.h"

namespace hopskip {
namespace {

// The views as they were given; values are decoded where they are used.
class ReferenceExperts final : public Weight {
 public:
  explicit ReferenceExperts(std::span<const TensorView> experts)
      : Weight(std::ssize(experts) * experts[0].shape[0], experts[0].shape[1], experts[0].dtype),
        experts_(experts.begin(), experts.end()) {
    for (TensorView& view : experts_) {
      if (view.random) {
        view.data = random_.emplace_back(random_values(view)).data();
      }
    }
  }

  int64_t count() const { return std::ssize(experts_); }
  // y [out] = expert · x [in]
  std::vector<double> multiply(int64_t expert, const std::vector<double>& x) const {
    const TensorView& view = experts_[expert];
    std::vector<float> w(view.elements());
    dequantize(view.dtype, view.data, w.data(), view.elements());
    std::vector<double> y(view.shape[0]);
    for (int64_t o = 0; o < std::ssize(y); ++o) {
      y[o] = std::inner_product(x.begin(), x.end(), &w[o * cols()], 0.0);
    }
    return y;
  }

 private:
  std::vector<TensorView> experts_;
  std::list<std::vector<bf16>> random_;
};

const ReferenceExperts& experts_of(const Weight& weight, int64_t count) {
  const auto& own = own_cast<const ReferenceExperts>(weight, "weight of experts");
  check(own.count() == count, ErrorCode::kInvalidArgument, "moe: a weight of {} experts, not {}",
        own.count(), count);
  return own;
}

struct Choice {
  int64_t expert;
  double weight;
};

std::vector<Choice> choose(std::span<const float> logits, const MoeRouting& routing) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  std::vector<Choice> choices;
  for (int64_t e = 0; e < std::ssize(logits); ++e) {
    choices.push_back({e, std::exp(double{logits[e]} - largest)});
    sum += choices.back().weight;
  }
  std::stable_sort(choices.begin(), choices.end(), [&](const Choice& a, const Choice& b) {
    return logits[a.expert] > logits[b.expert];
  });
  choices.resize(routing.top_k);
  if (routing.normalize) {
    sum = 0.0;
    for (const Choice& choice : choices) {
      sum += choice.weight;
    }
  }
  for (Choice& choice : choices) {
    choice.weight /= sum;
  }
  return choices;
}

}  // namespace

WeightPtr ReferenceBackend::load_experts(std::span<const TensorView> experts) {
  check_experts(experts);
  weight_shape(experts[0]);
  return std::make_unique<ReferenceExperts>(experts);
}

void ReferenceBackend::moe(Matrix x, Matrix router_logits, const ExpertWeights& w,
                           const MoeRouting& routing, Matrix residual) {
  clock_.enter(Part::kExperts);
  check_moe(x, router_logits, w, routing, residual);
  const int64_t count = router_logits.cols;
  const ReferenceExperts& gate = experts_of(*w.gate, count);
  const ReferenceExperts& up = experts_of(*w.up, count);
  const ReferenceExperts& down = experts_of(*w.down, count);
  pool_.parallel_for(x.rows, [&](int64_t t, int) {
    const std::vector<double> token(x.row(t), x.row(t) + x.cols);
    std::vector<double> sum(x.cols);
    for (const auto& [expert, weight] :
         choose({router_logits.row(t), static_cast<size_t>(count)}, routing)) {
      std::vector<double> inner = gate.multiply(expert, token);
      const std::vector<double> factor = up.multiply(expert, token);
      for (size_t i = 0; i < inner.size(); ++i) {
        inner[i] *= factor[i] / (1.0 + std::exp(-inner[i]));
      }
      const std::vector<double> out = down.multiply(expert, inner);
      for (size_t i = 0; i < out.size(); ++i) {
        sum[i] += weight * out[i];
      }
    }
    for (int64_t i = 0; i < x.cols; ++i) {
      residual.row(t)[i] = static_cast<float>(double{residual.row(t)[i]} + sum[i]);
    }
  });
}

}  // namespace hopskip
