#include "table.h"

#include <fmt/format.h>

#include <algorithm>

namespace hopskip::apps {
namespace {

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.+-e %x") == std::string::npos;
}

std::string quoted(const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) {
    return cell;
  }
  std::string out;
  for (char c : cell) {
    out.append(c == '"' ? 2 : 1, c);
  }
  return fmt::format("\"{}\"", out);
}

}  // namespace

std::string Table::text(size_t columns) const {
  columns = std::min(columns, header_.size());
  std::vector<size_t> widths(columns, 0);
  std::vector<bool> right(columns, !rows_.empty());
  for (size_t column = 0; column < columns; ++column) {
    widths[column] = header_[column].size();
    for (const auto& row : rows_) {
      widths[column] = std::max(widths[column], row[column].size());
      right[column] = right[column] && is_number(row[column]);
    }
  }
  std::string out;
  auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t column = 0; column < columns; ++column) {
      line += column == 0 ? "" : "  ";
      line += right[column] ? fmt::format("{:>{}}", cells[column], widths[column])
                            : fmt::format("{:<{}}", cells[column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  };
  add_line(header_);
  std::for_each(rows_.begin(), rows_.end(), add_line);
  return out;
}

std::string Table::csv() const {
  std::string out;
  auto add_line = [&](const std::vector<std::string>& cells) {
    for (size_t column = 0; column < cells.size(); ++column) {
      out += column == 0 ? "" : ",";
      out += quoted(cells[column]);
    }
    out += '\n';
  };
  add_line(header_);
  std::for_each(rows_.begin(), rows_.end(), add_line);
  return out;
}

}  // namespace hopskip::apps
