#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/pre_tokenizers.h"
#include "text/tokenizer_data.h"

namespace hopskip {
namespace {

using Json = nlohmann::json;
using TokenIds = std::unordered_map<std::string, int32_t>;

constexpr size_t kMaxJsonBytes = size_t{256} << 20;
constexpr int kMaxJsonDepth = 32;
constexpr size_t kMaxTokenBytes = 64 * 1024;

// Parses with a bound on the depth; a key that stands twice in an object is an error.
Json parse_json(std::string_view text, std::string_view file) {
  check(text.size() <= kMaxJsonBytes, ErrorCode::kCorrupt, "{}: {} bytes, at most {} are accepted",
        file, text.size(), kMaxJsonBytes);
  std::vector<size_t> keys;  // of the objects that are open
  std::string last_key;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    check(depth <= kMaxJsonDepth, ErrorCode::kCorrupt, "{}: nested deeper than {} levels", file,
          kMaxJsonDepth);
    switch (event) {
      case Json::parse_event_t::object_start:
        keys.push_back(0);
        break;
      case Json::parse_event_t::key:
        ++keys.back();
        last_key = value.get_ref<const std::string&>();
        break;
      case Json::parse_event_t::object_end:
        check(value.size() == keys.back(), ErrorCode::kCorrupt,
              "{}: a key stands twice in the object that ends with '{}'", file, last_key);
        keys.pop_back();
        break;
      default:
        break;
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::exception& e) {
    fail(ErrorCode::kCorrupt, "{}: {}", file, e.what());
  }
}

// A JSON value and the path that leads to it, for messages.
struct Node {
  const Json& json;
  std::string path;

  bool has(const char* key) const {
    return json.is_object() && json.contains(key) && !json[key].is_null();
  }
  Node at(const char* key) const {
    check(has(key), ErrorCode::kCorrupt, "{}: '{}' is missing", path, key);
    return {json[key], path + "." + key};
  }
  Node at(size_t index) const { return {json[index], fmt::format("{}[{}]", path, index)}; }
  const Json& array() const { return expect(json.is_array(), "an array"); }
  const Json& object() const { return expect(json.is_object(), "an object"); }
  const std::string& string() const {
    return expect(json.is_string(), "a string").get_ref<const std::string&>();
  }
  bool boolean() const { return expect(json.is_boolean(), "true or false").get<bool>(); }
  bool boolean_or(const char* key, bool otherwise) const {
    return has(key) ? at(key).boolean() : otherwise;
  }
  int32_t id() const {
    const bool fits = json.is_number_unsigned() && json.get<uint64_t>() < kMaxVocabulary;
    return expect(fits, "a token id below 1048576").get<int32_t>();
  }

 private:
  const Json& expect(bool is, std::string_view what) const {
    check(is, ErrorCode::kCorrupt, "{}: expected {}", path, what);
    return json;
  }
};

[[noreturn]] void unsupported(const Node& node, std::string_view type, std::string_view known) {
  fail(ErrorCode::kUnsupported, "{}: '{}' is not supported, these are: {}", node.path, type, known);
}

template <typename T, size_t n>
T one_of(const Node& node, const std::pair<std::string_view, T> (&rows)[n]) {
  const std::string& name = node.string();
  std::string known;
  for (const auto& [row, value] : rows) {
    if (row == name) {
      return value;
    }
    known.append(known.empty() ? "" : ", ").append(row);
  }
  unsupported(node, name, known);
}

Normalizer read_normalizer(const Node& node) {
  static constexpr std::pair<std::string_view, Normalizer> kNormalizers[] = {
      {"NFC", Normalizer::kNfc},
      {"NFD", Normalizer::kNfd},
      {"NFKC", Normalizer::kNfkc},
      {"NFKD", Normalizer::kNfkd}};
  if (node.at("type").string() != "Sequence") {
    return one_of(node.at("type"), kNormalizers);
  }
  const Node list = node.at("normalizers");
  check(list.array().size() <= 1, ErrorCode::kUnsupported,
        "{}: more than one normalizer is not supported", list.path);
  return list.json.empty() ? Normalizer::kNone : read_normalizer(list.at(size_t{0}));
}

std::string escape_pattern(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    if (std::string_view(R"(\^$.|?*+()[]{}-#)").find(c) != std::string_view::npos) {
      pattern.push_back('\\');
    }
    pattern.push_back(c);
  }
  return pattern;
}

PreTokenizerStep read_split(const Node& node) {
  static constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  const Node pattern = node.at("pattern");
  return {.pattern = pattern.has("Regex") ? pattern.at("Regex").string()
                                          : escape_pattern(pattern.at("String").string()),
          .behavior = one_of(node.at("behavior"), kBehaviors),
          .invert = node.boolean_or("invert", false)};
}

// Appends the steps of one component. True after ByteLevel: what follows would see its alphabet
// instead of text.
bool read_pre_tokenizer(const Node& node, std::vector<PreTokenizerStep>& steps) {
  const std::string& type = node.at("type").string();
  if (type == "Sequence") {
    const Node list = node.at("pretokenizers");
    bool byte_level = false;
    for (size_t i = 0; i < list.array().size(); ++i) {
      check(!byte_level, ErrorCode::kUnsupported, "{}: a component behind ByteLevel",
            list.at(i).path);
      byte_level = read_pre_tokenizer(list.at(i), steps);
    }
    return byte_level;
  }
  if (type == "Split") {
    steps.push_back(read_split(node));
    return false;
  }
  if (type == "Digits") {
    steps.push_back({.pattern = R"(\p{N})",
                     .behavior = node.boolean_or("individual_digits", false)
                                     ? SplitBehavior::kIsolated
                                     : SplitBehavior::kContiguous});
    return false;
  }
  if (type == "ByteLevel") {
    if (node.boolean_or("add_prefix_space", true)) {
      steps.push_back({.kind = PreTokenizerStep::Kind::kPrefixSpace});
    }
    if (node.boolean_or("use_regex", true)) {
      steps.push_back({.pattern = std::string(kGpt2Pattern)});
    }
    return true;
  }
  unsupported(node, type, "Sequence, Split, Digits, ByteLevel");
}

void set_token(TokenizerData& data, int32_t id, std::string bytes, const Node& node) {
  const auto index = static_cast<size_t>(id);
  if (index >= data.tokens.size()) {
    data.tokens.resize(index + 1);
  }
  check(data.tokens[index].empty(), ErrorCode::kCorrupt, "{}: id {} stands there twice", node.path,
        id);
  data.tokens[index] = std::move(bytes);
}

TokenIds read_vocabulary(const Node& node, TokenizerData& data) {
  TokenIds ids;
  check(node.object().size() <= kMaxVocabulary, ErrorCode::kCorrupt,
        "{}: {} tokens, at most {} are accepted", node.path, node.json.size(), kMaxVocabulary);
  for (const auto& [token, id] : node.json.items()) {
    const Node entry{id, node.path + "." + token};
    check(token.size() <= kMaxTokenBytes, ErrorCode::kCorrupt,
          "{}: a token of {} bytes, at most {} are accepted", node.path, token.size(),
          kMaxTokenBytes);
    set_token(data, entry.id(), bytes_from_alphabet(token).value_or(token), entry);
    ids.emplace(token, entry.id());
  }
  return ids;
}

// A merge is written "left right" or, in files since 2024, ["left", "right"].
void read_merges(const Node& node, const TokenIds& ids, TokenizerData& data) {
  check(node.array().size() <= 4 * kMaxVocabulary, ErrorCode::kCorrupt,
        "{}: {} merges, at most {} are accepted", node.path, node.json.size(), 4 * kMaxVocabulary);
  for (size_t rank = 0; rank < node.json.size(); ++rank) {
    const Node merge = node.at(rank);
    std::string left;
    std::string right;
    if (merge.json.is_array() && merge.json.size() == 2) {
      left = merge.at(size_t{0}).string();
      right = merge.at(size_t{1}).string();
    } else {
      const std::string& both = merge.string();
      const size_t space = both.find(' ');
      check(space != both.npos, ErrorCode::kCorrupt,
            "{}: '{}' is not two tokens with a space between", merge.path, both);
      left = both.substr(0, space);
      right = both.substr(space + 1);
    }
    const auto id = [&](const std::string& token) {
      const auto it = ids.find(token);
      check(it != ids.end(), ErrorCode::kCorrupt, "{}: '{}' is not in model.vocab", merge.path,
            token);
      return it->second;
    };
    data.merges.emplace_back(id(left), id(right));
  }
}

void read_added_tokens(const Node& list, TokenIds& ids, TokenizerData& data) {
  for (size_t i = 0; i < list.array().size(); ++i) {
    const Node node = list.at(i);
    AddedToken token{.id = node.at("id").id(),
                     .text = node.at("content").string(),
                     .special = node.boolean_or("special", false),
                     .lstrip = node.boolean_or("lstrip", false),
                     .rstrip = node.boolean_or("rstrip", false),
                     .single_word = node.boolean_or("single_word", false),
                     .normalized = node.boolean_or("normalized", true)};
    check(!token.text.empty() && token.text.size() <= kMaxTokenBytes, ErrorCode::kCorrupt,
          "{}.content: expected 1 to {} bytes", node.path, kMaxTokenBytes);
    const auto [it, is_new] = ids.try_emplace(token.text, token.id);
    check(it->second == token.id, ErrorCode::kCorrupt, "{}.id: {}, but '{}' has the id {}",
          node.path, token.id, token.text, it->second);
    if (is_new) {
      set_token(data, token.id, token.text, node);
    } else {
      data.tokens[static_cast<size_t>(token.id)] = token.text;
    }
    data.added.push_back(std::move(token));
  }
}

// TemplateProcessing's "single" puts tokens before and behind the text; ByteLevel only trims
// offsets.
void read_post_processor(const Node& node, TokenizerData& data) {
  const std::string& type = node.at("type").string();
  if (type == "Sequence") {
    const Node list = node.at("processors");
    for (size_t i = 0; i < list.array().size(); ++i) {
      read_post_processor(list.at(i), data);
    }
    return;
  }
  if (type == "ByteLevel") {
    return;
  }
  if (type != "TemplateProcessing") {
    unsupported(node, type, "Sequence, TemplateProcessing, ByteLevel");
  }
  const Node single = node.at("single");
  std::vector<int32_t>* side = &data.prefix;
  for (size_t i = 0; i < single.array().size(); ++i) {
    const Node piece = single.at(i);
    if (piece.has("Sequence")) {
      side = &data.suffix;
      continue;
    }
    const std::string& name = piece.at("SpecialToken").at("id").string();
    const Node ids = node.at("special_tokens").at(name.c_str()).at("ids");
    for (size_t k = 0; k < ids.array().size(); ++k) {
      side->push_back(ids.at(k).id());
    }
  }
}

// bos_token and eos_token are a string or an object with the string in "content".
int32_t role_id(const Node& config, const char* key, const TokenIds& ids) {
  if (!config.has(key)) {
    return -1;
  }
  const Node role = config.at(key);
  const std::string& token = role.json.is_object() ? role.at("content").string() : role.string();
  const auto it = ids.find(token);
  check(it != ids.end(), ErrorCode::kCorrupt, "{}: '{}' is not a token of tokenizer.json",
        role.path, token);
  return it->second;
}

void read_config(const Node& config, const TokenIds& ids, TokenizerData& data) {
  data.bos_id = role_id(config, "bos_token", ids);
  data.eos_id = role_id(config, "eos_token", ids);
  const auto surround = [&](const char* key, int32_t id, std::vector<int32_t>& side) {
    if (config.boolean_or(key, false) && id >= 0 &&
        std::find(side.begin(), side.end(), id) == side.end()) {
      side.push_back(id);
    }
  };
  surround("add_bos_token", data.bos_id, data.prefix);
  surround("add_eos_token", data.eos_id, data.suffix);
}

void check_model(const Node& model) {
  const auto refuse = [&](const char* key) {
    check(!model.has(key) || (model.json[key].is_string() && model.at(key).string().empty()),
          ErrorCode::kUnsupported, "{}.{} is not supported", model.path, key);
  };
  if (model.has("type") && model.at("type").string() != "BPE") {
    unsupported(model.at("type"), model.at("type").string(), "BPE");
  }
  refuse("continuing_subword_prefix");
  refuse("end_of_word_suffix");
  check(!model.boolean_or("byte_fallback", false), ErrorCode::kUnsupported,
        "{}.byte_fallback is not supported: only byte-level BPE is", model.path);
}

}  // namespace

TokenizerData tokenizer_from_json(std::string_view tokenizer_json,
                                  std::string_view tokenizer_config_json) {
  const Json json = parse_json(tokenizer_json, "tokenizer.json");
  const Node root{json, "tokenizer.json"};
  root.object();
  const Node model = root.at("model");
  check_model(model);

  TokenizerData data;
  TokenIds ids = read_vocabulary(model.at("vocab"), data);
  read_merges(model.at("merges"), ids, data);
  data.ignore_merges = model.boolean_or("ignore_merges", false);
  data.fuse_unk = model.boolean_or("fuse_unk", false);
  if (model.has("unk_token")) {
    data.unk_id = role_id(model, "unk_token", ids);
  }
  if (root.has("added_tokens")) {
    read_added_tokens(root.at("added_tokens"), ids, data);
  }
  if (root.has("normalizer")) {
    data.normalizer = read_normalizer(root.at("normalizer"));
  }
  check(read_pre_tokenizer(root.at("pre_tokenizer"), data.pre_tokenizer), ErrorCode::kUnsupported,
        "tokenizer.json.pre_tokenizer has no ByteLevel: only byte-level BPE is supported");
  if (root.has("post_processor")) {
    read_post_processor(root.at("post_processor"), data);
  }
  if (!tokenizer_config_json.empty()) {
    const Json config = parse_json(tokenizer_config_json, "tokenizer_config.json");
    read_config({config, "tokenizer_config.json"}, ids, data);
  }
  return data;
}

}  // namespace hopskip
