// What the programs read from the environment; the library reads nothing.
#ifndef HOPSKIP_APPS_ENVIRONMENT_H_
#define HOPSKIP_APPS_ENVIRONMENT_H_

#include "hopskip/llm.h"

namespace hopskip::apps {

// HOPSKIP_CACHE, and Hugging Face's HF_HUB_CACHE or HF_HOME; below XDG_CACHE_HOME or ~/.cache where
// they are not set.
ModelFolders folders_from_environment();

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_ENVIRONMENT_H_
