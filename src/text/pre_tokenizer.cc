#include "text/pre_tokenizer.h"

#include <utility>

#include "text/utf8.h"

namespace hopskip {
namespace {

// Joins pieces that alternate between matches and the text between them, as `behavior` says.
class Joiner {
 public:
  Joiner(std::string_view text, SplitBehavior behavior, bool invert,
         std::vector<std::string_view>& out)
      : text_(text), behavior_(behavior), invert_(invert), out_(out), first_(out.size()) {}

  void add(size_t begin, size_t end, bool is_match) {
    if (begin == end) {
      return;
    }
    is_match ^= invert_;
    const bool joins = out_.size() > first_ && joins_previous(is_match);
    previous_was_match_ = is_match;
    if (joins) {
      out_.back() = text_.substr(piece_begin_, end - piece_begin_);
    } else if (behavior_ != SplitBehavior::kRemoved || !is_match) {
      out_.push_back(text_.substr(begin, end - begin));
      piece_begin_ = begin;
    }
  }

 private:
  bool joins_previous(bool is_match) const {
    switch (behavior_) {
      case SplitBehavior::kRemoved:
      case SplitBehavior::kIsolated:
        return false;
      case SplitBehavior::kMergedWithPrevious:
        return is_match && !previous_was_match_;
      case SplitBehavior::kMergedWithNext:
        return !is_match && previous_was_match_;
      case SplitBehavior::kContiguous:
        return is_match == previous_was_match_;
    }
    return false;
  }

  std::string_view text_;
  SplitBehavior behavior_;
  bool invert_;
  std::vector<std::string_view>& out_;
  size_t first_;  // pieces before this one belong to other words
  size_t piece_begin_ = 0;
  bool previous_was_match_ = false;
};

void split_word(std::string_view text, const Regex& regex, Regex::Scratch& scratch, Joiner joiner) {
  size_t done = 0;
  size_t from = 0;
  while (from <= text.size()) {
    const auto match = regex.find(text, from, scratch);
    if (!match) {
      break;
    }
    joiner.add(done, match->begin, false);
    joiner.add(match->begin, match->end, true);
    done = match->end;
    from = match->end;
    if (match->begin == match->end) {
      from += from < text.size() ? decode_utf8(text, from).size : 1;
    }
  }
  joiner.add(done, text.size(), false);
}

}  // namespace

PreTokenizer::Scratch::Scratch(const PreTokenizer& pre_tokenizer) {
  for (const Step& step : pre_tokenizer.steps_) {
    regex.emplace_back(step.regex);
  }
}

PreTokenizer::PreTokenizer(const std::vector<PreTokenizerStep>& steps) {
  for (const PreTokenizerStep& step : steps) {
    steps_.push_back({step, Regex(step.pattern)});
  }
}

const std::vector<std::string_view>& PreTokenizer::split(std::string_view text,
                                                         Scratch& scratch) const {
  scratch.prefixed.clear();
  scratch.words.assign(1, text);
  for (size_t i = 0; i < steps_.size(); ++i) {
    const PreTokenizerStep& what = steps_[i].what;
    scratch.next.clear();
    for (const std::string_view word : scratch.words) {
      if (what.kind == PreTokenizerStep::Kind::kSplit) {
        split_word(word, steps_[i].regex, scratch.regex[i],
                   Joiner(word, what.behavior, what.invert, scratch.next));
      } else if (word.starts_with(' ')) {
        scratch.next.push_back(word);
      } else {
        scratch.next.push_back(scratch.prefixed.emplace_back(" ").append(word));
      }
    }
    std::swap(scratch.words, scratch.next);
  }
  return scratch.words;
}

}  // namespace hopskip
