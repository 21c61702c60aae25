#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "hopskip/error.h"

namespace hopskip {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Json = nlohmann::json;

// Letters a…d and a space ("Ġ"), with "ab", " ab" and "abcd" on top, and two added tokens.
Json small_tokenizer() {
  return Json::parse(R"({
    "added_tokens": [{"id": 8, "content": "<s>", "special": true, "normalized": false},
                     {"id": 9, "content": "<t>", "special": false, "normalized": false}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [8], "tokens": ["<s>"]}}},
    "model": {"type": "BPE",
      "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "Ġ": 4, "ab": 5, "Ġab": 6, "abcd": 7, "cd": 10},
      "merges": ["a b", ["Ġ", "ab"], "c d", "ab cd"]}})");
}

Tokenizer build(const Json& json) { return Tokenizer(tokenizer_from_json(json.dump())); }

std::string error_of(const Json& json) {
  try {
    build(json);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Tokenizer, MergesByRank) {
  const Tokenizer t = build(small_tokenizer());
  EXPECT_THAT(t.encode("abcd ab d", {.add_special = false}), ElementsAre(7, 6, 4, 3));
}

TEST(Tokenizer, PutsThePrefixAndParsesAddedTokens) {
  const Tokenizer t = build(small_tokenizer());
  EXPECT_THAT(t.encode("ab<s>c<t>"), ElementsAre(8, 5, 8, 2, 9));
  // As text, "<s>" has no letters that this vocabulary knows; "<t>" is not special.
  EXPECT_THAT(t.encode("ab<s>c<t>", {.add_special = false, .parse_special = false}),
              ElementsAre(5, 2, 9));
}

TEST(Tokenizer, Decodes) {
  const Tokenizer t = build(small_tokenizer());
  const std::vector<int32_t> ids = {8, 6, 9, 3};
  EXPECT_EQ(t.decode(ids), "<s> ab<t>d");
  EXPECT_EQ(t.decode(ids, true), " ab<t>d");
  EXPECT_EQ(t.token_bytes(6), " ab");
  EXPECT_TRUE(t.is_special(8));
  EXPECT_FALSE(t.is_special(9));
  EXPECT_EQ(t.vocab_size(), 11);
  EXPECT_EQ(t.find(" ab"), 6);
  EXPECT_EQ(t.find("nothing"), std::nullopt);
  EXPECT_THROW(t.token_bytes(11), Error);
  EXPECT_THROW(t.decode(std::vector<int32_t>{-1}), Error);
}

TEST(Tokenizer, ErrorsNameTheKey) {
  Json json = small_tokenizer();
  json["model"]["type"] = "Unigram";
  EXPECT_THAT(error_of(json), HasSubstr("model.type: 'Unigram'"));
  json = small_tokenizer();
  json["model"]["vocab"]["zz"] = 1;
  EXPECT_THAT(error_of(json), HasSubstr("model.vocab.zz: id 1 stands there twice"));
  json = small_tokenizer();
  json["model"]["vocab"]["zz"] = 1u << 30;
  EXPECT_THAT(error_of(json), HasSubstr("model.vocab.zz: expected a token id"));
  json = small_tokenizer();
  json["model"]["merges"].push_back("a zz");
  EXPECT_THAT(error_of(json), HasSubstr("merges[4]: 'zz' is not in model.vocab"));
  json = small_tokenizer();
  json["model"]["merges"].push_back("b a");
  EXPECT_THAT(error_of(json), HasSubstr("product of merge 4"));
  json = small_tokenizer();
  json["pre_tokenizer"] = {{"type", "Metaspace"}};
  EXPECT_THAT(error_of(json), HasSubstr("'Metaspace' is not supported, these are: Sequence"));
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}};
  EXPECT_THAT(error_of(json), HasSubstr("no ByteLevel"));
  EXPECT_THAT(error_of(Json::array()), HasSubstr("tokenizer.json: expected an object"));
}

TEST(Tokenizer, RefusesKeysThatStandTwice) {
  std::string text = small_tokenizer().dump();
  text.replace(text.find("\"cd\":10"), 7, "\"cd\":10,\"cd\":11");
  try {
    tokenizer_from_json(text);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(e.what(), HasSubstr("stands twice"));
  }
}

TEST(Tokenizer, ReadsTheConfig) {
  const TokenizerData data = tokenizer_from_json(
      small_tokenizer().dump(), R"({"bos_token": {"content": "<s>"}, "eos_token": "<t>"})");
  EXPECT_EQ(data.bos_id, 8);
  EXPECT_EQ(data.eos_id, 9);
}

TEST(Tokenizer, BuildsFromGguf) {
  const std::vector<std::string> tokens = {"<s>", "a", "b", "Ġ", "ab", "Ġab", "<u>"};
  const std::vector<int32_t> types = {3, 1, 1, 1, 1, 1, 4};
  const std::vector<std::string> merges = {"a b", "Ġ ab"};
  GgufVocabulary gguf{.model = "gpt2",
                      .pre = "smollm",
                      .tokens = tokens,
                      .token_type = types,
                      .merges = merges,
                      .bos_id = 0};
  gguf.add_bos = true;
  const Tokenizer t(tokenizer_from_gguf(gguf));
  EXPECT_THAT(t.encode("ab ab<u>"), ElementsAre(0, 4, 5, 6));
  gguf.pre = "unheard-of";
  EXPECT_THROW(tokenizer_from_gguf(gguf), Error);
  gguf.pre = "smollm";
  gguf.model = "llama";
  EXPECT_THROW(tokenizer_from_gguf(gguf), Error);
  gguf.model = "gpt2";
  gguf.bos_id = 7;
  EXPECT_THROW(tokenizer_from_gguf(gguf), Error);
}

}  // namespace
}  // namespace hopskip
