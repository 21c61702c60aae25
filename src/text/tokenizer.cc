#include "text/tokenizer.h"

#include <mutex>
#include <utility>

#include "base/check.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace hopskip {
namespace {

constexpr size_t kMaxIdleScratches = 64;

TokenizerData checked(TokenizerData data) {
  const auto size = static_cast<int64_t>(data.tokens.size());
  const auto check_id = [&](int64_t id, std::string_view what) {
    check(id >= 0 && id < size, ErrorCode::kCorrupt,
          "{}: id {} is outside the vocabulary of {} tokens", what, id, size);
  };
  for (const auto& [left, right] : data.merges) {
    check_id(left, "merges");
    check_id(right, "merges");
  }
  for (const AddedToken& token : data.added) {
    check_id(token.id, "added_tokens");
  }
  for (const auto* ids : {&data.prefix, &data.suffix}) {
    for (const int32_t id : *ids) {
      check_id(id, "tokens around a text");
    }
  }
  const std::pair<int32_t, std::string_view> optional[] = {
      {data.bos_id, "bos"}, {data.eos_id, "eos"}, {data.unk_id, "unk"}};
  for (const auto& [id, what] : optional) {
    if (id != -1) {
      check_id(id, what);
    }
  }
  return data;
}

}  // namespace

struct Tokenizer::Impl {
  struct Scratch {
    explicit Scratch(const Impl& impl) : words(impl.pre_tokenizer) {}
    PreTokenizer::Scratch words;
    Bpe::Scratch bpe;
  };

  explicit Impl(TokenizerData d)
      : data(checked(std::move(d))),
        raw_added(data, false),
        normalized_added(data, true),
        pre_tokenizer(data.pre_tokenizer),
        bpe(data),
        special(data.tokens.size()) {
    for (const AddedToken& token : data.added) {
      added_of.try_emplace(token.text, token.id);
      special[static_cast<size_t>(token.id)] = token.special;
    }
  }

  void encode_valid(std::string_view text, bool parse_special, Scratch& scratch,
                    std::vector<int32_t>& out) const {
    std::string normalized;
    if (data.normalizer != Normalizer::kNone) {
      normalized = normalize(text, data.normalizer);
      text = normalized;
    }
    for (const auto& [piece, id] : normalized_added.split(text, parse_special)) {
      if (id >= 0) {
        out.push_back(id);
        continue;
      }
      for (const std::string_view word : pre_tokenizer.split(piece, scratch.words)) {
        bpe.encode(word, scratch.bpe, out);
      }
    }
  }

  void encode(std::string_view text, bool parse_special, Scratch& scratch,
              std::vector<int32_t>& out) const {
    for (const auto& [piece, id] : raw_added.split(text, parse_special)) {
      if (id >= 0) {
        out.push_back(id);
        continue;
      }
      std::string_view rest = piece;
      while (!rest.empty()) {
        const size_t valid = valid_utf8_prefix(rest);
        if (valid > 0) {
          encode_valid(rest.substr(0, valid), parse_special, scratch, out);
        }
        rest.remove_prefix(valid);
        const size_t invalid = invalid_utf8_prefix(rest);
        if (invalid > 0) {
          bpe.encode(rest.substr(0, invalid), scratch.bpe, out);
        }
        rest.remove_prefix(invalid);
      }
    }
  }

  std::unique_ptr<Scratch> take_scratch() const {
    const std::lock_guard lock(mutex);
    if (idle.empty()) {
      return std::make_unique<Scratch>(*this);
    }
    auto scratch = std::move(idle.back());
    idle.pop_back();
    return scratch;
  }

  void give_back(std::unique_ptr<Scratch> scratch) const {
    const std::lock_guard lock(mutex);
    if (idle.size() < kMaxIdleScratches) {
      idle.push_back(std::move(scratch));
    }
  }

  size_t index(int32_t id) const {
    check(id >= 0 && static_cast<size_t>(id) < data.tokens.size(), ErrorCode::kInvalidArgument,
          "token id {} is outside the vocabulary of {} tokens", id, data.tokens.size());
    return static_cast<size_t>(id);
  }

  const TokenizerData data;
  const AddedTokens raw_added, normalized_added;
  const PreTokenizer pre_tokenizer;
  const Bpe bpe;
  std::unordered_map<std::string_view, int32_t> added_of;
  std::vector<bool> special;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Scratch>> idle;  // guarded by mutex
};

Tokenizer::Tokenizer(TokenizerData data) : impl_(std::make_unique<Impl>(std::move(data))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  const TokenizerData& data = impl_->data;
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + data.prefix.size() + data.suffix.size());
  if (options.add_special) {
    ids.insert(ids.end(), data.prefix.begin(), data.prefix.end());
  }
  auto scratch = impl_->take_scratch();
  impl_->encode(text, options.parse_special, *scratch, ids);
  impl_->give_back(std::move(scratch));
  if (options.add_special) {
    ids.insert(ids.end(), data.suffix.begin(), data.suffix.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    const size_t index = impl_->index(id);
    if (!(skip_special && impl_->special[index])) {
      bytes += impl_->data.tokens[index];
    }
  }
  return bytes;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return impl_->data.tokens[impl_->index(id)];
}

bool Tokenizer::is_special(int32_t id) const { return impl_->special[impl_->index(id)]; }

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->data.tokens.size()); }

std::optional<int32_t> Tokenizer::find(std::string_view token) const {
  const auto it = impl_->added_of.find(token);
  return it == impl_->added_of.end() ? impl_->bpe.find(token) : std::optional(it->second);
}

const TokenizerData& Tokenizer::data() const { return impl_->data; }

}  // namespace hopskip
