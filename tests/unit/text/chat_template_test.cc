#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hopskip/error.h"

namespace hopskip {
namespace {

using testing::HasSubstr;
using Json = nlohmann::ordered_json;

std::string render(const std::string& source, const Json& context = Json::object(),
                   TemplateLimits limits = {}) {
  return ChatTemplate(source, limits).render(context, 0);
}

std::string error_of(const std::string& source, TemplateLimits limits = {}) {
  try {
    return "rendered: " + render(source, Json::object(), limits);
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(ChatTemplate, RendersAConversation) {
  const Json context = Json::parse(
      R"({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": true})");
  EXPECT_EQ(render("{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{% endfor %}"
                   "{% if add_generation_prompt %}<assistant>{% endif %}",
                   context),
            "<user>Hi<assistant>");
}

TEST(ChatTemplate, KeepsTheOrderOfKeys) {
  EXPECT_EQ(render("{{ d | tojson }}", Json::parse(R"({"d": {"z": 1, "a": [1.5, "é"]}})")),
            R"({"z": 1, "a": [1.5, "é"]})");
}

TEST(ChatTemplate, StripsWhiteSpaceAroundBlocks) {
  EXPECT_EQ(render("a\n  {% if true %}\nb\n  {%- endif %}\n c\n"), "a\nb c");
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  EXPECT_THAT(error_of("a\n{{ raise_exception('no tools') }}"), HasSubstr("line 2: no tools"));
  EXPECT_THAT(error_of("\n\n{% if %}"), HasSubstr("line 3"));
  EXPECT_THAT(error_of("{{ x.y }}"), HasSubstr("'x' is undefined"));
  EXPECT_THAT(error_of("{% for a in b %}"), HasSubstr("expected {% endfor %}"));
  EXPECT_THAT(error_of("{{ 1 | nofilter }}"), HasSubstr("'nofilter' is not supported"));
  EXPECT_THAT(error_of("{% include 'x' %}"), HasSubstr("{% include %} is not supported"));
}

TEST(ChatTemplate, EverythingIsBounded) {
  const TemplateLimits small{
      .source_bytes = 4096, .value_bytes = 1000, .steps = 10'000, .depth = 16};
  EXPECT_THAT(
      error_of("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
               small),
      HasSubstr("steps"));
  EXPECT_THAT(error_of("{{ 'x' * 5000 }}", small), HasSubstr("elements"));
  EXPECT_THAT(error_of("{% set l = [1] * 900 %}{% set m = (l + l) + (l + l) %}", small),
              HasSubstr("steps"));  // a list is charged for its memory
  EXPECT_THAT(error_of("{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(20) %}{% set ns.s "
                       "= ns.s ~ ns.s %}{% endfor %}",
                       small),
              HasSubstr("bytes"));
  EXPECT_THAT(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", small),
              HasSubstr("nested"));
  EXPECT_THAT(error_of("{{ " + std::string(500, '(') + "1" + std::string(500, ')') + " }}", small),
              HasSubstr("nested"));
  EXPECT_THAT(error_of("{{ 1" + std::string(1000, '+') + "1 }}", small), HasSubstr("nested"));
  EXPECT_THAT(error_of("{% set ns = namespace(l=[]) %}{% for i in range(999) %}{% set ns.l = "
                       "[ns.l] %}{% endfor %}",
                       small),
              HasSubstr("nested"));
  EXPECT_THAT(error_of(std::string(5000, 'a'), small), HasSubstr("5000 bytes"));
}

TEST(ChatTemplate, ALoopMayBeKeptBeyondItsEnd) {
  EXPECT_EQ(
      render("{% set ns = namespace() %}{% for i in [1, 2] %}{% set ns.l = [loop] %}{{ "
             "ns.l[0].index }}{% endfor %}{{ ns.l[0].length }}{{ ns.l[0].nextitem is defined }}"),
      "120False");
}

TEST(ChatTemplate, RefusesAContextThatIsNoObject) {
  EXPECT_THROW(render("x", Json::array()), Error);
}

}  // namespace
}  // namespace hopskip
