// Runs the text module on files, so that Python can compare it with other implementations.
//   text_probe encode json|gguf VOCABULARY TEXT [plain]   ids as int32 on stdout, speed on stderr
//   text_probe render                                     one request a line on stdin, see below
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>

#include "hopskip/error.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hopskip {
namespace {

using Json = nlohmann::ordered_json;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The keys of a GGUF file as a JSON object, without their prefix "tokenizer.ggml.".
TokenizerData from_gguf_keys(const std::string& path) {
  const Json keys = Json::parse(read_file(path));
  const auto tokens = keys.at("tokens").get<std::vector<std::string>>();
  const auto types = keys.at("token_type").get<std::vector<int32_t>>();
  const auto merges = keys.at("merges").get<std::vector<std::string>>();
  GgufVocabulary gguf;
  gguf.model = keys.at("model");
  gguf.pre = keys.at("pre");
  gguf.tokens = tokens;
  gguf.token_type = types;
  gguf.merges = merges;
  return tokenizer_from_gguf(gguf);
}

int encode(const std::string& format, const std::string& vocabulary, const std::string& path,
           bool parse_special) {
  const Tokenizer tokenizer(format == "gguf" ? from_gguf_keys(vocabulary)
                                             : tokenizer_from_json(read_file(vocabulary)));
  const std::string text = read_file(path);
  const auto start = std::chrono::steady_clock::now();
  const auto ids = tokenizer.encode(text, {.add_special = true, .parse_special = parse_special});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::cout.write(reinterpret_cast<const char*>(ids.data()),
                  static_cast<std::streamsize>(ids.size() * sizeof(ids[0])));
  std::cerr << Json{{"bytes", text.size()},
                    {"tokens", ids.size()},
                    {"seconds", seconds.count()},
                    {"round_trip", tokenizer.decode(ids) == text}}
            << "\n";
  return 0;
}

// {"template": source, "context": {…}, "now": seconds} gives {"text": …} or {"error": …}.
int render() {
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    Json reply;
    try {
      const ChatTemplate chat_template(request.at("template"));
      reply["text"] = chat_template.render(request.at("context"), request.at("now"));
    } catch (const Error& e) {
      reply["error"] = e.what();
    }
    std::cout << reply.dump() << "\n";
  }
  return 0;
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() >= 4 && arguments[0] == "encode") {
    return encode(arguments[1], arguments[2], arguments[3],
                  !(arguments.size() == 5 && arguments[4] == "plain"));
  }
  if (arguments == std::vector<std::string>{"render"}) {
    return render();
  }
  std::cerr << "usage: text_probe encode json|gguf VOCABULARY TEXT [plain] | text_probe render\n";
  return 2;
}

}  // namespace
}  // namespace hopskip

int main(int argc, char** argv) {
  try {
    return hopskip::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
