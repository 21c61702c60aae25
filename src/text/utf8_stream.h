// Tokens end in the middle of code points; readers want whole ones.
#ifndef HOPSKIP_TEXT_UTF8_STREAM_H_
#define HOPSKIP_TEXT_UTF8_STREAM_H_

#include <string>
#include <string_view>

namespace hopskip {

// Turns pieces of bytes into pieces of valid UTF-8. A code point is held back until it is whole.
// Bytes that cannot be part of one become U+FFFD, one for each maximal invalid part (Unicode
// standard, chapter 3.9, as Python's errors="replace").
class Utf8Stream {
 public:
  // The text that is now complete.
  std::string push(std::string_view bytes);

  // Ends the stream: U+FFFD for an unfinished code point, else "". The stream may be used anew.
  std::string flush();

 private:
  std::string pending_;  // at most three bytes: a valid beginning of a code point
};

// `bytes` as valid UTF-8, invalid parts replaced as above.
std::string to_valid_utf8(std::string_view bytes);

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_UTF8_STREAM_H_
