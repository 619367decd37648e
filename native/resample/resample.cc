// Compiled without contraction: the weights must be those of JavaScript, to the last bit.
#include "resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace vgg {
namespace {

// For each pixel that the crop shows: `length` source pixels from `first` on, weighted by its row
// of `weights`, [count, most].
struct Taps {
  std::vector<int> first, length;
  std::vector<unsigned> weights;
  size_t most;
  // The source pixels that all of them reach: from here up to, not including, `to`.
  int from, to;
};

void check(const Axis& axis, int32_t crop) {
  const bool is_sound = axis.source >= 1 && axis.resized >= 1 && axis.start >= 0 &&
                        axis.count >= 1 && axis.count <= axis.resized &&
                        axis.start <= axis.resized - axis.count && axis.offset >= 0 &&
                        axis.count <= crop && axis.offset <= crop - axis.count;
  if (!is_sound) throw std::invalid_argument("the axes and the crop do not go together");
}

// The same steps in the same order as filterTaps() in resample.ts.
Taps filter_taps(const Axis& axis) {
  const double scale = static_cast<double>(axis.source) / axis.resized;
  const double support = std::max(scale, 1.0);
  Taps taps;
  taps.most = static_cast<size_t>(std::ceil(support)) * 2 + 1;
  taps.first.resize(axis.count);
  taps.length.resize(axis.count);
  taps.weights.resize(axis.count * taps.most);
  std::vector<double> row(taps.most);
  for (int i = 0; i < axis.count; ++i) {
    const double center = (axis.start + i + 0.5) * scale;
    const auto from = static_cast<int64_t>(std::max(std::trunc(center - support + 0.5), 0.0));
    const auto to =
        std::min(static_cast<int64_t>(center + support + 0.5), int64_t{axis.source});
    const int64_t length = to - from;
    // All that the passes read and write follows from these.
    const bool is_sound =
        length >= 1 && length <= static_cast<int64_t>(taps.most) &&
        (i == 0 || (from >= taps.first[i - 1] && to >= taps.first[i - 1] + taps.length[i - 1]));
    if (!is_sound) throw std::invalid_argument("the axes are out of range");
    double sum = 0;
    for (int64_t tap = 0; tap < length; ++tap) {
      const double distance = std::abs((tap + from - center + 0.5) * (1 / support));
      row[tap] = distance < 1 ? 1 - distance : 0;
      sum += row[tap];
    }
    if (!(sum > 0)) throw std::invalid_argument("the axes are out of range");
    for (int64_t tap = 0; tap < length; ++tap)
      taps.weights[i * taps.most + tap] =
          static_cast<unsigned>(0.5 + row[tap] / sum * (1 << precision_bits));
    taps.first[i] = static_cast<int>(from);
    taps.length[i] = static_cast<int>(length);
  }
  taps.from = taps.first.front();
  taps.to = taps.first.back() + taps.length.back();
  return taps;
}

// The columns in the form of the kernel, for rows that begin at `left`.
class Columns {
 public:
  Columns(const Taps& taps, int left) : first_(taps.first) {
    const size_t most = (taps.most + tap_group - 1) / tap_group * tap_group;
    groups_.reserve(first_.size());
    weights_.resize(first_.size() * most * 4);
    for (size_t x = 0; x < first_.size(); ++x) {
      first_[x] -= left;
      groups_.push_back((taps.length[x] + tap_group - 1) / tap_group);
      for (int tap = 0; tap < taps.length[x]; ++tap)
        std::fill_n(&weights_[(x * most + tap) * 4], 4, taps.weights[x * taps.most + tap]);
    }
    taps_ = {first_.data(), groups_.data(), weights_.data(), static_cast<long>(most),
             static_cast<int>(first_.size())};
  }
  Columns(const Columns&) = delete;
  Columns& operator=(const Columns&) = delete;

  const HorizontalTaps& taps() const { return taps_; }

 private:
  std::vector<int> first_, groups_;
  std::vector<unsigned> weights_;
  HorizontalTaps taps_;
};

// Rows go through both passes one after the other, so that what is between them stays in the cache.
struct Passes {
  const ResampleKernels& kernels;
  const uint8_t* pixels;
  size_t source_stride;   // bytes of a source row
  size_t source_bytes;    // of all of them
  const Taps& columns;
  const Taps& rows;
  uint8_t* result;        // the first pixel shown
  size_t result_stride;

  size_t shown_bytes() const { return columns.first.size() * 3; }

  void horizontal_first() const {
    const Columns taps(columns, 0);
    const size_t stride = shown_bytes() + row_padding;
    std::vector<uint8_t> made(rows.most * stride);  // Row r of the source is row r % most here.
    std::vector<uint8_t> last_row(source_stride + row_padding);
    std::vector<const uint8_t*> seen(rows.most);
    int next = rows.from;
    for (size_t y = 0; y < rows.first.size(); ++y) {
      for (; next < rows.first[y] + rows.length[y]; ++next) {
        const size_t at = next * source_stride;
        const uint8_t* row = pixels + at;
        if (at + source_stride + row_padding > source_bytes) {  // The kernel reads on a little.
          std::memcpy(last_row.data(), row, source_stride);
          row = last_row.data();
        }
        kernels.horizontal(row, taps.taps(), &made[next % rows.most * stride]);
      }
      for (int tap = 0; tap < rows.length[y]; ++tap)
        seen[tap] = &made[(rows.first[y] + tap) % rows.most * stride];
      kernels.vertical(seen.data(), &rows.weights[y * rows.most], rows.length[y],
                       static_cast<long>(shown_bytes()), result + y * result_stride);
    }
  }

  void vertical_first() const {
    const Columns taps(columns, columns.from);
    const size_t bytes = size_t{3} * (columns.to - columns.from);
    std::vector<uint8_t> row(bytes + row_padding);
    std::vector<uint8_t> made(shown_bytes() + row_padding);
    std::vector<const uint8_t*> seen(rows.most);
    for (size_t y = 0; y < rows.first.size(); ++y) {
      for (int tap = 0; tap < rows.length[y]; ++tap)
        seen[tap] = pixels + (rows.first[y] + tap) * source_stride + size_t{3} * columns.from;
      kernels.vertical(seen.data(), &rows.weights[y * rows.most], rows.length[y],
                       static_cast<long>(bytes), row.data());
      kernels.horizontal(row.data(), taps.taps(), made.data());
      std::memcpy(result + y * result_stride, made.data(), shown_bytes());
    }
  }
};

}  // namespace

void resample(const ResampleKernels& kernels, const uint8_t* pixels, const Axis& x, const Axis& y,
              int32_t crop, uint8_t* result) {
  check(x, crop);
  check(y, crop);
  const Taps columns = filter_taps(x);
  const Taps rows = filter_taps(y);
  const size_t source_stride = size_t{3} * x.source;
  const size_t result_stride = size_t{3} * crop;
  const Passes passes{kernels, pixels, source_stride, source_stride * y.source, columns, rows,
                      result + y.offset * result_stride + size_t{3} * x.offset, result_stride};
  // Pillow's rule: verticalFirst() in resample.ts.
  const int64_t down = int64_t{y.source} - y.resized;
  const bool is_vertical_first = down > 0 && down > 2 * (int64_t{x.source} - x.resized);
  if (is_vertical_first)
    passes.vertical_first();
  else
    passes.horizontal_first();
}

}  // namespace vgg
