// What Unicode says about characters; the library behind it is seen only in unicode.cc.
#ifndef HOPSKIP_TEXT_UNICODE_H_
#define HOPSKIP_TEXT_UNICODE_H_

#include <string>
#include <string_view>

#include "text/tokenizer_data.h"

namespace hopskip {

// `text` is valid UTF-8 in all of these.
std::string normalize(std::string_view text, Normalizer form);

std::string to_upper(std::string_view text);  // full mapping: "ß" becomes "SS"
std::string to_lower(std::string_view text);
std::string to_title(std::string_view character);  // of one character, e.g. "ǆ" becomes "ǅ"

bool is_white_space(char32_t c);       // property White_Space
bool is_python_space(char32_t c);      // str.isspace(): White_Space and U+001C…U+001F
bool is_cased(char32_t c);             // property Cased
bool is_word_character(char32_t c);    // \w of Unicode TS 18: Alphabetic, M, Nd, Pc, joiners
bool is_python_printable(char32_t c);  // str.isprintable()

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_UNICODE_H_
