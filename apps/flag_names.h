// The library names its options as its callers do; this names the flags that set them.
#ifndef HOPSKIP_APPS_FLAG_NAMES_H_
#define HOPSKIP_APPS_FLAG_NAMES_H_

#include <string>

namespace hopskip::apps {

// A message of the library with the flag behind each option that it tells to change: "a smaller
// chunk_tokens" becomes "a smaller chunk_tokens (--chunk)".
std::string with_flags(std::string message);

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_FLAG_NAMES_H_
