// Tables for people (aligned columns) and for programs (CSV), from the same rows.
#ifndef HOPSKIP_APPS_TABLE_H_
#define HOPSKIP_APPS_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace hopskip::apps {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  // A row has as many cells as the header.
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  // Columns padded with spaces; cells that are numbers are aligned to the right. Of the first
  // `columns` only.
  std::string text(size_t columns = SIZE_MAX) const;
  // RFC 4180: cells with a comma, quote or line break are quoted.
  std::string csv() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace hopskip::apps

#endif  // HOPSKIP_APPS_TABLE_H_
