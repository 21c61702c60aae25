#include "stream.h"

#include <cstdio>

namespace hopskip::apps {

GenerateEvents stream_events(Progress& bar) {
  return {.on_text =
              [&bar](std::string_view piece, const SampledToken*) {
                bar.clear();
                std::fwrite(piece.data(), 1, piece.size(), stdout);
                std::fflush(stdout);
              },
          .on_prefill = [&bar](int64_t done, int64_t total) { bar.update(done, total); }};
}

void end_stream(Progress& bar) {
  bar.clear();
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

}  // namespace hopskip::apps
