#include "models/decoder.h"

#include <fmt/format.h>

#include <variant>
#include <vector>

#include "models/layers/gqa.h"
#include "models/layers/mlp.h"
#include "models/layers/moe.h"
#include "models/layers/rope.h"
#include "models/sharding.h"

namespace hopskip {
namespace {

using FeedForward = std::variant<Mlp, Moe>;

FeedForward load_feed_forward(const Loader& load, const ModelConfig& config, int64_t layer) {
  if (config.has_experts(layer)) {
    return Moe(load, config);
  }
  return Mlp(load, config);
}

struct Layer {
  WeightPtr attention_norm;
  Gqa attention;
  WeightPtr mlp_norm;
  FeedForward mlp;
};

class Decoder : public Model {
 public:
  explicit Decoder(const Loader& load)
      : Model(shard_of(load.checkpoint().config, load.world())),
        backend_(load.backend()),
        memory_(load.memory()),
        eps_(static_cast<float>(config().rms_norm_eps)),
        rope_(make_rope(config())) {
    const ModelConfig& c = config();
    embedding_ = load.matrix("model.embed_tokens.weight", c.vocab_size, c.hidden_size);
    for (int64_t i = 0; i < c.num_layers; ++i) {
      const Loader layer = load.in(fmt::format("model.layers.{}.", i));
      layers_.push_back({layer.vector("input_layernorm.weight", c.hidden_size),
                         Gqa(layer.in("self_attn."), c, c.window(i)),
                         layer.vector("post_attention_layernorm.weight", c.hidden_size),
                         load_feed_forward(layer.in("mlp."), c, i)});
      has_mlp_ |= !c.has_experts(i);
      has_moe_ |= c.has_experts(i);
    }
    final_norm_ = load.vector("model.norm.weight", c.hidden_size);
    if (!c.tie_word_embeddings) {
      head_ = load.matrix("lm_head.weight", c.vocab_size, c.hidden_size);
    }
  }

  AttentionShape attention_shape() const override {
    AttentionShape shape = layers_.front().attention.shape();
    shape.window = 0;
    return shape;
  }

  Matrix forward(Step& step) override {
    const int64_t num_tokens = step.num_tokens();
    Matrix x = backend_.allocate(num_tokens, config().hidden_size, MatrixKind::kExact);
    Matrix normed = backend_.allocate(num_tokens, config().hidden_size, MatrixKind::kActivation);
    Gqa::Scratch attention_scratch(backend_, config(), num_tokens);
    const Mlp::Scratch mlp_scratch(backend_, config(), has_mlp_ ? num_tokens : 0);
    const Moe::Scratch moe_scratch(backend_, config(), has_moe_ ? num_tokens : 0);

    backend_.embed(step, *embedding_, x);
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      layer.attention.forward(backend_, step, {x, layer.attention_norm.get(), eps_, normed},
                              static_cast<int>(i), rope_, attention_scratch);
      if (i + 1 == layers_.size()) {  // from here on rows are on their own: keep those wanted
        x = gathered(step, x, MatrixKind::kExact);
        attention_scratch.attended =
            gathered(step, attention_scratch.attended, MatrixKind::kActivation);
      }
      if (x.rows == 0) {
        break;
      }
      layer.attention.project_out(backend_, attention_scratch.attended, x);
      normed.rows = x.rows;
      const NormedInput in{x, layer.mlp_norm.get(), eps_, normed};
      if (const Moe* moe = std::get_if<Moe>(&layer.mlp)) {
        moe->forward(backend_, in, moe_scratch);
      } else {
        std::get<Mlp>(layer.mlp).forward(backend_, in, mlp_scratch);
      }
    }
    return x;
  }

  void logits(Matrix hidden, Matrix out) override {
    const Matrix normed = backend_.allocate(hidden.rows, hidden.cols, MatrixKind::kActivation);
    const LinearTerm term{head_ ? head_.get() : embedding_.get(), nullptr, out};
    backend_.norm_linear({hidden, final_norm_.get(), eps_, normed}, {&term, 1});
  }

 private:
  Matrix gathered(const Step& step, Matrix x, MatrixKind kind) {
    if (step.num_rows() == x.rows || step.num_rows() == 0) {
      return x.row_range(0, step.num_rows());
    }
    const Matrix y = backend_.allocate(step.num_rows(), x.cols, kind);
    backend_.gather_rows(step, x, y);
    return y;
  }

  Backend& backend_;
  Loader::Memory memory_;
  float eps_;
  Rope rope_;
  WeightPtr embedding_;
  std::vector<Layer> layers_;
  bool has_mlp_ = false, has_moe_ = false;  // in any layer
  WeightPtr final_norm_;
  WeightPtr head_;  // null: tied to the embedding
};

}  // namespace

std::unique_ptr<Model> load_decoder(const Loader& load) { return std::make_unique<Decoder>(load); }

}  // namespace hopskip
