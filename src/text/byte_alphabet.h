// The alphabet in which GPT-2 and its successors write bytes as printable characters.
#ifndef HOPSKIP_TEXT_BYTE_ALPHABET_H_
#define HOPSKIP_TEXT_BYTE_ALPHABET_H_

#include <optional>
#include <string>
#include <string_view>

namespace hopskip {

// The bytes that `token` spells: "Ġhi" is " hi". Bytes 33…126, 161…172 and 174…255 stand for
// themselves as code points, the other 68 for U+0100 onwards in rising order. No value when a
// character is outside the alphabet.
std::optional<std::string> bytes_from_alphabet(std::string_view token);

}  // namespace hopskip

#endif  // HOPSKIP_TEXT_BYTE_ALPHABET_H_
