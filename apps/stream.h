// A generation on the terminal: a bar while the prompt is computed, then the text as it is made.
#ifndef HOPSKIP_APPS_STREAM_H_
#define HOPSKIP_APPS_STREAM_H_

#include "hopskip/llm.h"
#include "progress.h"

namespace hopskip::apps {

// Text goes to stdout, piece by piece. `bar` must outlive the generation.
GenerateEvents stream_events(Progress& bar);

// Ends the text with a line break.
void end_stream(Progress& bar);

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_STREAM_H_
