#include "base/mapped_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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

TEST(MappedFile, WhatWasReleasedComesBack) {
  const test::TemporaryFolder folder;
  const std::string text = std::string(3 << 12, 'x') + std::string(3 << 12, 'y');
  test::write_file(folder / "a", std::string_view(text));
  const MappedFile file(folder / "a");
  EXPECT_EQ(file.text(), text);
  file.release(file.bytes().subspan(100, 20000));
  file.release(file.bytes());
  file.release(file.bytes().first(0));
  release_mapped(file.bytes().subspan(4096));
  EXPECT_EQ(file.text(), text);
  std::vector<std::byte> other(1 << 16, std::byte{7});  // not of this file: stays as it is
  file.release(other);
  EXPECT_EQ(std::ranges::count(other, std::byte{7}), std::ssize(other));
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
