// From what a user calls a model to where it lies.
#ifndef HOPSKIP_LLM_MODEL_PATH_H_
#define HOPSKIP_LLM_MODEL_PATH_H_

#include <filesystem>
#include <string>

#include "hopskip/llm.h"

namespace hopskip {

// See LLMOptions::model. Throws NotFound that says how to get the model, InvalidArgument where a
// hub id stands for several files.
std::filesystem::path find_model(const std::string& model, const ModelFolders& folders);

}  // namespace hopskip

#endif  // HOPSKIP_LLM_MODEL_PATH_H_
