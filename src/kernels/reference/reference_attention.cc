// The attention operations of ReferenceBackend: gather a sequence, replay its tile plan.
#include <algorithm>
#include <utility>
#include <vector>

#include "attention/reference.h"
#include "base/float16.h"
#include "kernels/contract.h"
#include "kernels/reference/reference_backend.h"
#include "tensor/quantize.h"

namespace hopskip {
namespace {

enum class Half { kKey, kValue };

// [num_layers][num_pages][key, value][page_size][num_kv_heads][head_dim] of config().dtype.
class ReferenceKv final : public KvStorage {
 public:
  explicit ReferenceKv(const KvConfig& config)
      : KvStorage(config), bytes_(config.num_pages * config.bytes_per_page()) {}

  int64_t token_elements() const { return int64_t{config().num_kv_heads} * config().head_dim; }

  // The key or value of the token at `position` of a sequence: [num_kv_heads][head_dim].
  void write(int layer, std::span<const int32_t> pages, int64_t position, Half half,
             const float* values) {
    const float inverse = 1.0f / scale(layer, half);
    std::vector<float> scaled(values, values + token_elements());
    for (float& value : scaled) {
      value *= inverse;
    }
    quantize(config().dtype, scaled.data(), &bytes_[place(layer, pages, position, half)],
             token_elements());
  }
  void read(int layer, std::span<const int32_t> pages, int64_t position, Half half,
            float* values) const {
    dequantize(config().dtype, &bytes_[place(layer, pages, position, half)], values,
               token_elements());
    const float factor = scale(layer, half);
    for (float* value = values; value < values + token_elements(); ++value) {
      *value *= factor;
    }
  }

 private:
  // Where they are, bytes.
  int64_t place(int layer, std::span<const int32_t> pages, int64_t position, Half half) const {
    const int64_t page =
        layer * config().num_pages + pages[static_cast<size_t>(position / config().page_size)];
    return ((page * 2 + (half == Half::kValue)) * config().page_size +
            position % config().page_size) *
           token_elements() * block_bytes(config().dtype);
  }
  // 1 unless K and V are FP8.
  float scale(int layer, Half half) const {
    const KvScale scale = config().scale(layer);
    return half == Half::kKey ? scale.k : scale.v;
  }

  std::vector<std::byte> bytes_;
};

// Keys or values of a whole sequence: [kv_len][num_kv_heads][head_dim].
std::vector<float> gather(const ReferenceKv& kv, int layer, const AttentionSequence& sequence,
                          Half half) {
  std::vector<float> values(sequence.kv_len * kv.token_elements());
  for (int64_t p = 0; p < sequence.kv_len; ++p) {
    kv.read(layer, sequence.pages, p, half, &values[p * kv.token_elements()]);
  }
  return values;
}

// Adds the tiles of `map` to each head's counts [num_heads].
void count(const SkipMap& map, const TilePlan& plan, std::span<SkipCounts> counts) {
  for (int64_t head = 0; head < std::ssize(counts); ++head) {
    for (int64_t row = 0; row < map.row_tiles; ++row) {
      for (int64_t key = 0; key < map.key_tiles; ++key) {
        const TileState state = map.at(head / plan.heads, row, key);
        counts[head].tiles += state != TileState::kInvisible;
        counts[head].skipped += state == TileState::kSkipped;
      }
    }
  }
}

}  // namespace

std::unique_ptr<KvStorage> ReferenceBackend::make_kv_storage(const KvConfig& config) {
  check_kv(config);
  return std::make_unique<ReferenceKv>(config);
}

TilePlan ReferenceBackend::tile_plan(Phase phase, const AttentionShape& shape,
                                     DType /*kv_dtype*/) const {
  validate(tile_plans_[phase], shape.group());
  return tile_plans_[phase];
}

void ReferenceBackend::kv_append(Step& step, int layer, Matrix k, Matrix v) {
  clock_.enter(Part::kRest);
  check_kv_append(step, layer, k, v);
  auto& own = own_cast<ReferenceKv>(step.kv(), "KV storage");
  for (const AttentionSequence& s : step.sequences()) {
    for (int64_t i = 0; i < s.q_len; ++i) {
      const int64_t position = s.kv_len - s.q_len + i;
      own.write(layer, s.pages, position, Half::kKey, k.row(s.q_begin + i));
      own.write(layer, s.pages, position, Half::kValue, v.row(s.q_begin + i));
    }
  }
}

void ReferenceBackend::attention(Step& step, const AttentionShape& shape, int layer, Matrix q,
                                 Matrix out, const AttentionDebug& debug) {
  clock_.enter(Part::kAttention);
  check_attention(step, shape, layer, q, out);
  const auto& own = own_cast<const ReferenceKv>(step.kv(), "KV storage");
  const std::span<SkipCounts> counts = own_cast<HostStep>(step, "step").counts(layer);
  const std::span<const AttentionSequence> sequences = step.sequences();
  const size_t heads = shape.num_heads;
  std::vector<SkipMap> maps(sequences.size());

  for (size_t i = 0; i < sequences.size(); ++i) {
    const AttentionSequence& s = sequences[i];
    const TilePlan tiles = tile_plan(s.phase, shape, own.config().dtype);
    const std::vector<float> k = gather(own, layer, s, Half::kKey);
    const std::vector<float> v = gather(own, layer, s, Half::kValue);
    std::vector<float> queries;  // [q_len][num_heads][head_dim]
    for (int64_t t = 0; t < s.q_len; ++t) {
      queries.insert(queries.end(), q.row(s.q_begin + t), q.row(s.q_begin + t) + q.cols);
    }
    const ReferenceInput input{shape, s.q_len, s.kv_len, queries.data(), k.data(), v.data()};
    ReferenceOutput result = reference_attention(input, tiles, s.threshold_log2);

    for (int64_t t = 0; t < s.q_len; ++t) {
      std::transform(&result.out[t * q.cols], &result.out[t * q.cols] + q.cols,
                     out.row(s.q_begin + t), [](double x) { return static_cast<float>(x); });
      if (debug.lse != nullptr) {
        for (size_t h = 0; h < heads; ++h) {
          debug.lse[(s.q_begin + t) * heads + h] = static_cast<float>(result.lse[t * heads + h]);
        }
      }
    }
    count(result.map, tiles, counts.subspan(i * heads, heads));
    maps[i] = std::move(result.map);
  }
  if (debug.maps != nullptr) {
    *debug.maps = std::move(maps);
  }
}

}  // namespace hopskip
