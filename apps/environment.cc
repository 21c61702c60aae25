#include "environment.h"

#include <cstdlib>

namespace hopskip::apps {
namespace {

// The value of a variable followed by `suffix`; `fallback` where it is empty or not set.
std::string variable(const char* name, const std::string& suffix, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? fallback : value + suffix;
}

}  // namespace

ModelFolders folders_from_environment() {
  const std::string cache = variable("XDG_CACHE_HOME", "", variable("HOME", "/.cache", ".cache"));
  return {.hopskip = variable("HOPSKIP_CACHE", "", cache + "/hopskip"),
          .hugging_face = variable("HF_HUB_CACHE", "",
                                   variable("HF_HOME", "/hub", cache + "/huggingface/hub"))};
}

}  // namespace hopskip::apps
