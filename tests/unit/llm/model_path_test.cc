#include "llm/model_path.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "support/error_matchers.h"

namespace hopskip {
namespace {

namespace fs = std::filesystem;

class ModelPath : public testing::Test {
 protected:
  ModelPath()
      : root_(fs::path(testing::TempDir()) / ("hopskip_model_path." + std::to_string(getpid()))),
        folders_{.hopskip = (root_ / "cache").string(), .hugging_face = (root_ / "hub").string()} {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~ModelPath() override { fs::remove_all(root_); }

  fs::path touch(const fs::path& relative, const std::string& text = "x") const {
    const fs::path path = root_ / relative;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }

  fs::path root_;
  ModelFolders folders_;
};

TEST_F(ModelPath, TakesAPathAsItIs) {
  const fs::path file = touch("some/model.gguf");
  EXPECT_EQ(find_model(file.string(), folders_), file);
  EXPECT_EQ(find_model((root_ / "some").string(), folders_), root_ / "some");
}

TEST_F(ModelPath, FindsTheDefaultModel) {
  EXPECT_ERROR(ErrorCode::kNotFound, "tools/fetch_model.sh", find_model("smollm2-135m", folders_));
  const fs::path file = touch("cache/SmolLM2-135M-Instruct.Q4_1.gguf");
  EXPECT_EQ(find_model("smollm2-135m", folders_), file);
}

TEST_F(ModelPath, FindsTheRevisionThatMainNames) {
  const fs::path old = touch("hub/models--org--name/snapshots/aaa/config.json");
  EXPECT_EQ(find_model("org/name", folders_), old.parent_path());
  const fs::path main = touch("hub/models--org--name/snapshots/bbb/config.json");
  touch("hub/models--org--name/refs/main", "bbb");
  EXPECT_EQ(find_model("org/name", folders_), main.parent_path());
}

TEST_F(ModelPath, FindsALoneGgufFile) {
  const fs::path file = touch("hub/models--org--name/snapshots/aaa/m.Q4_0.gguf");
  EXPECT_EQ(find_model("org/name", folders_), file);
  touch("hub/models--org--name/snapshots/aaa/m.Q8_0.gguf");
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "m.Q4_0.gguf", find_model("org/name", folders_));
}

TEST_F(ModelPath, SaysHowToGetWhatIsNotThere) {
  EXPECT_ERROR(ErrorCode::kNotFound, "hf download org/name", find_model("org/name", folders_));
  EXPECT_ERROR(ErrorCode::kNotFound, "give a .gguf file", find_model("/no/such.gguf", folders_));
  EXPECT_ERROR(ErrorCode::kNotFound, "give a .gguf file", find_model("../a", folders_));
  EXPECT_ERROR(ErrorCode::kNotFound, "give a .gguf file", find_model("a/b/c", folders_));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "empty", find_model("", folders_));
  fs::create_directories(root_ / "hub/models--org--part/snapshots/aaa");
  EXPECT_ERROR(ErrorCode::kNotFound, "incomplete", find_model("org/part", folders_));
}

}  // namespace
}  // namespace hopskip
