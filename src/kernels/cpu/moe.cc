#include "kernels/cpu/moe.h"

#include <algorithm>
#include <cmath>

#include "kernels/contract.h"
#include "kernels/cpu/weight.h"

namespace hopskip {
namespace {

class CpuExperts final : public Weight {
 public:
  CpuExperts(ThreadPool& pool, HugeArena& arena, std::span<const TensorView> experts)
      : Weight(std::ssize(experts) * experts[0].shape[0], experts[0].shape[1], experts[0].dtype) {
    experts_.reserve(experts.size());
    for (const TensorView& view : experts) {
      experts_.emplace_back(pool, arena, view);
    }
  }

  int64_t count() const { return std::ssize(experts_); }
  const CpuWeight& expert(int64_t e) const { return experts_[e]; }

 private:
  std::vector<CpuWeight> experts_;
};

const CpuExperts& experts_of(const Weight& weight) {
  return own_cast<const CpuExperts>(weight, "weight of experts");
}

Matrix matrix_in(Buffer& buffer, int64_t rows, int64_t cols) {
  buffer.reserve(rows * cols * sizeof(float));
  return {buffer.as<float>(), rows, cols, cols};
}

}  // namespace

WeightPtr load_cpu_experts(ThreadPool& pool, HugeArena& arena,
                           std::span<const TensorView> experts) {
  check_experts(experts);
  return std::make_unique<CpuExperts>(pool, arena, experts);
}

void CpuMoe::operator()(Matrix x, Matrix router_logits, const ExpertWeights& w,
                        const MoeRouting& routing, Matrix residual) {
  check_moe(x, router_logits, w, routing, residual);
  for (const Weight* weight : {w.gate, w.up, w.down}) {
    check(experts_of(*weight).count() == router_logits.cols, ErrorCode::kInvalidArgument,
          "moe: a weight of {} experts, not {}", experts_of(*weight).count(), router_logits.cols);
  }
  if (x.rows == 0) {
    return;
  }
  route(router_logits, routing);
  group(router_logits.cols, routing.top_k);

  const int64_t slots = std::ssize(tokens_);
  const Matrix gathered = matrix_in(x_, slots, x.cols);
  const Matrix gate = matrix_in(gate_, slots, w.down->cols());
  const Matrix up = matrix_in(up_, slots, w.down->cols());
  elementwise_.each_row(
      slots, x.cols, [&](int64_t i) { std::copy_n(x.row(tokens_[i]), x.cols, gathered.row(i)); });
  const Product in[] = {{w.gate, gate}, {w.up, up}};
  multiply(gathered, in);
  elementwise_.silu_mul(gate, up, gate);
  const Product out{w.down, gathered};  // the inputs are used up
  multiply(gate, {&out, 1});

  elementwise_.each_row(x.rows, x.cols * routing.top_k, [&](int64_t t) {
    float* sum = residual.row(t);
    for (int64_t j = t * routing.top_k; j < (t + 1) * routing.top_k; ++j) {
      const float* y = gathered.row(uses_[j].slot);
      for (int64_t i = 0; i < x.cols; ++i) {
        sum[i] += uses_[j].weight * y[i];
      }
    }
  });
}

void CpuMoe::route(Matrix router_logits, const MoeRouting& routing) {
  const int64_t experts = router_logits.cols;
  const int64_t top_k = routing.top_k;
  uses_.resize(router_logits.rows * top_k);
  // Every use looks at all logits once, and an exponential costs as much as some looks.
  elementwise_.each_row(router_logits.rows, experts * (top_k + 8), [&](int64_t t) {
    const float* logits = router_logits.row(t);
    Use* uses = &uses_[t * top_k];
    const float largest = *std::max_element(logits, logits + experts);
    std::vector<bool> taken(experts);
    for (int64_t j = 0; j < top_k; ++j) {
      int64_t best = std::find(taken.begin(), taken.end(), false) - taken.begin();
      for (int64_t e = best + 1; e < experts; ++e) {
        if (!taken[e] && logits[e] > logits[best]) {
          best = e;
        }
      }
      taken[best] = true;
      uses[j] = {static_cast<int32_t>(best), std::exp(logits[best] - largest)};
    }
    float sum = 0.0f;
    if (routing.normalize) {
      for (int64_t j = 0; j < top_k; ++j) {
        sum += uses[j].weight;
      }
    } else {
      for (int64_t e = 0; e < experts; ++e) {
        sum += std::exp(logits[e] - largest);
      }
    }
    for (int64_t j = 0; j < top_k; ++j) {
      uses[j].weight /= sum;
    }
  });
}

void CpuMoe::group(int64_t experts, int64_t top_k) {
  groups_.assign(experts, {});
  for (const Use& use : uses_) {
    ++groups_[use.expert].count;
  }
  int64_t begin = 0;
  for (const bool large : {false, true}) {
    for (Group& group : groups_) {
      if ((group.count >= CpuLinear::kGemmTokens) == large) {
        group.begin = begin;
        begin += group.count;
      }
    }
  }
  std::vector<int64_t> next(experts);
  for (int64_t e = 0; e < experts; ++e) {
    groups_[e].expert = e;
    next[e] = groups_[e].begin;
  }
  tokens_.resize(uses_.size());
  for (int64_t i = 0; i < std::ssize(uses_); ++i) {
    uses_[i].slot = next[uses_[i].expert]++;
    tokens_[uses_[i].slot] = i / top_k;
  }
  std::erase_if(groups_, [](const Group& group) { return group.count == 0; });
  std::ranges::sort(groups_, {}, &Group::begin);
}

void CpuMoe::multiply(Matrix x, std::span<const Product> products) {
  std::vector<LinearTerm> terms;
  std::vector<int64_t> first_rows;
  const auto add_terms = [&](const Group& group) {
    for (const Product& product : products) {
      terms.push_back({&experts_of(*product.w).expert(group.expert), nullptr,
                       product.y.row_range(group.begin, group.count)});
      first_rows.push_back(group.begin);
    }
  };
  const auto large = std::ranges::find_if(
      groups_, [](const Group& group) { return group.count >= CpuLinear::kGemmTokens; });
  std::for_each(groups_.begin(), large, add_terms);
  if (!terms.empty()) {
    const int64_t few = large == groups_.end() ? x.rows : large->begin;
    linear_.grouped(x.row_range(0, few), terms, first_rows);
  }
  for (auto group = large; group != groups_.end(); ++group) {
    terms.clear();
    add_terms(*group);
    linear_(x.row_range(group->begin, group->count), terms);
  }
}

}  // namespace hopskip
