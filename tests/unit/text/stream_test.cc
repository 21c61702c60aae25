#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hopskip/error.h"
#include "text/stop_matcher.h"
#include "text/utf8_stream.h"

namespace hopskip {
namespace {

TEST(Utf8Stream, HoldsBackHalfACodePoint) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80z"), "\xF0\x9F\x98\x80z");
  EXPECT_EQ(stream.flush(), "");
}

TEST(Utf8Stream, ReplacesEachMaximalInvalidPart) {
  EXPECT_EQ(to_valid_utf8("\xFF"), "\uFFFD");
  EXPECT_EQ(to_valid_utf8("\xE2\x82z"), "\uFFFDz");
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(to_valid_utf8("\xC0\xAF"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(to_valid_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(Utf8Stream, FlushReplacesTheUnfinished) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("ab\xE2\x82"), "ab");
  EXPECT_EQ(stream.flush(), "\uFFFD");
  EXPECT_EQ(stream.push("c"), "c");
}

// What comes out may not depend on where the input is cut.
TEST(Utf8Stream, CutsDoNotMatter) {
  const std::string text = "é\xFF\u20AC\xE2\x28\xF0\x9F\x98\x80\xF0\x9F";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    Utf8Stream stream;
    std::string out = stream.push(text.substr(0, cut));
    out += stream.push(text.substr(cut));
    out += stream.flush();
    EXPECT_EQ(out, to_valid_utf8(text)) << cut;
  }
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBeAStop) {
  StopMatcher matcher({"</end>"});
  EXPECT_EQ(matcher.push("abc<"), "abc");
  EXPECT_EQ(matcher.push("/e"), "");
  EXPECT_EQ(matcher.push("x"), "</ex");
  EXPECT_EQ(matcher.push("<</end>tail"), "<");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.stop(), 0u);
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcher, FlushGivesWhatWasHeld) {
  StopMatcher matcher({"stop"});
  EXPECT_EQ(matcher.push("a sto"), "a ");
  EXPECT_EQ(matcher.push(""), "");
  EXPECT_EQ(matcher.flush(), "sto");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, TheFirstToEndWinsAndThenTheLongest) {
  StopMatcher matcher({"bcd", "abc", "c"});
  EXPECT_EQ(matcher.push("xabcd"), "x");
  EXPECT_EQ(matcher.stop(), 1u);
}

TEST(StopMatcher, FindsAStopThatOverlapsItself) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(matcher.push("aaa"), "a");
  EXPECT_EQ(matcher.push("b"), "");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcher, RefusesAnEmptyStop) { EXPECT_THROW(StopMatcher({""}), Error); }

}  // namespace
}  // namespace hopskip
