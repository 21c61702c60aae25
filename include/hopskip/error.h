// The one error type of the library.
#ifndef HOPSKIP_ERROR_H_
#define HOPSKIP_ERROR_H_

#include <stdexcept>
#include <string>
#include <string_view>

namespace hopskip {

enum class ErrorCode {
  kInvalidArgument,  // the caller's value is out of its documented range
  kUnsupported,      // valid, but nothing here can run it; the message says why not
  kNotFound,         // a file, tensor or key that is not there
  kCorrupt,          // foreign bytes that break their own format
  kOutOfMemory,
  kDevice,
  kInternal,  // a bug in Hopskip
};

std::string_view error_code_name(ErrorCode code);

// What every function of the library throws. what() is one line that names the thing and the way
// out; where() names what was being read or run, e.g. "model.gguf: tensor 'output.weight'", and is
// already part of what().
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, const std::string& where = "");
  ErrorCode code() const { return code_; }
  const std::string& where() const { return where_; }

 private:
  ErrorCode code_;
  std::string where_;
};

}  // namespace hopskip

#endif  // HOPSKIP_ERROR_H_
