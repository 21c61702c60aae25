#include "base/mapped_file.h"

#include <gtest/gtest.h>

#include <utility>

#include "support/checkpoint_writer.h"
#include "support/error_matchers.h"

namespace hopskip {
namespace {

TEST(MappedFile, ShowsTheBytesAndKeepsThemInPlaceWhenMoved) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "a", std::string_view("some text"));
  MappedFile first(folder / "a");
  EXPECT_EQ(first.text(), "some text");
  const std::byte* data = first.bytes().data();
  MappedFile second(std::move(first));
  EXPECT_EQ(second.bytes().data(), data);
  test::write_file(folder / "b", std::string_view("other"));
  MappedFile third(folder / "b");
  third = std::move(second);
  EXPECT_EQ(third.text(), "some text");
}

TEST(MappedFile, NamesThePathInEveryError) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "empty", std::string_view());
  EXPECT_ERROR(ErrorCode::kNotFound, "nowhere", MappedFile(folder / "nowhere"));
  EXPECT_ERROR(ErrorCode::kCorrupt, "empty' is empty", MappedFile(folder / "empty"));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "is a directory", MappedFile(folder.path()));
  EXPECT_ERROR(ErrorCode::kNotFound, "empty/below", MappedFile(folder / "empty" / "below"));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "/dev/null", MappedFile("/dev/null"));
}

}  // namespace
}  // namespace hopskip
