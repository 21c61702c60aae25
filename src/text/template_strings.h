// Python's string methods, on UTF-8.
#ifndef HOPSKIP_TEXT_TEMPLATE_STRINGS_H_
#define HOPSKIP_TEXT_TEMPLATE_STRINGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hopskip::jinja {

// `characters` without a value: white space.
std::string_view strip_left(std::string_view text, std::optional<std::string_view> characters);
std::string_view strip_right(std::string_view text, std::optional<std::string_view> characters);

std::string strip_both(std::string_view text, std::optional<std::string_view> characters);

// str.split(separator, limit): at most `limit` cuts, -1 for all; without a separator at runs of
// white space. from_right is str.rsplit(). The separator is not "".
std::vector<std::string_view> split(std::string_view text,
                                    std::optional<std::string_view> separator, int64_t limit,
                                    bool from_right);

std::vector<std::string_view> split_lines(std::string_view text);

std::string capitalize(std::string_view text);
std::string title(std::string_view text);       // str.title()
std::string word_title(std::string_view text);  // Jinja's filter: words end at spaces and -([{<

// `limit` -1: all.
std::string replace(std::string_view text, std::string_view old, std::string_view with,
                    int64_t limit);

size_t count_code_points(std::string_view text);

}  // namespace hopskip::jinja

#endif  // HOPSKIP_TEXT_TEMPLATE_STRINGS_H_
