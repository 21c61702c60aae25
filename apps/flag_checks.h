// Checks of what is given to flags that CLI11 has no words for.
#ifndef HOPSKIP_APPS_FLAG_CHECKS_H_
#define HOPSKIP_APPS_FLAG_CHECKS_H_

#include <CLI/CLI.hpp>

namespace hopskip::apps {

// A number from 0 to 1; CLI::Range lets nan pass.
CLI::Validator is_share();

// A whole number from 0 to 2^64 - 1; CLI11 would turn what is larger or negative into another one.
CLI::Validator is_seed();

// A whole number that int64 holds; CLI11 would turn a larger one into the largest.
CLI::Validator is_whole_number();

// No bare number: that is the rest of a list that was written with spaces.
CLI::Validator is_model();

// A name of a file or folder; the empty one may come from a variable of a script that is not set.
CLI::Validator is_file_name();

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_FLAG_CHECKS_H_
