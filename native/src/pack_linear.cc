// How the weights of a linear layer are laid out for the kernels.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "bf16.h"
#include "pack.h"

namespace vgg {
namespace {

// Of the bits of a float32, infinity being the smallest of those that end as no finite number.
struct Float32 {
  using Number = float;
  static constexpr LinearFormat format = LinearFormat::float32;
  static constexpr int32_t infinity = 0x7f800000;
  static Number number(int32_t bits) {
    Number value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  static int place_in_panel(int output, int) { return output; }
};

struct Bfloat16 {
  using Number = bfloat16;
  static constexpr LinearFormat format = LinearFormat::bfloat16;
  static constexpr int32_t infinity = 0x7f7f8000;  // half a step above the largest number
  static Number number(int32_t bits) { return to_bfloat16(Float32::number(bits)); }
  // The outputs j and j + half a panel lie side by side.
  static int place_in_panel(int output, int panel) {
    return output % (panel / 2) * 2 + output / (panel / 2);
  }
};

// Of a block's columns. Where the columns that a run reads are long, less of what the processor
// fetches ahead of them by itself is in vain.
constexpr int longest_column = 4096;          // bytes
constexpr int longest_float28_column = 2048;  // outputs, 7168 bytes

// The largest power of two of which all threads have about the same share.
int panels_of_block(int panels, int most, int threads) {
  int width = 1;
  while (2 * width <= most) width *= 2;
  const auto share = [&](int width) {
    const int blocks = (panels + width - 1) / width;
    return (blocks + threads - 1) / threads * width;
  };
  while (width > 1 && share(width) * 10L * threads > 11L * std::max(panels, threads)) width /= 2;
  return width;
}

// Without weights yet.
PackedLinear shape_of(const Layer& linear, const Kernels& kernels, int most_outputs, int threads) {
  const int panel = 2 * kernels.vector;
  PackedLinear packed;
  packed.panels = panels_of(linear.out, panel);
  packed.panels_of_block = panels_of_block(packed.panels, most_outputs / panel, threads);
  packed.bias = packed_bias(affine_of(linear, nullptr), panel);
  return packed;
}

size_t floats_of(size_t bytes) { return (bytes + sizeof(float) - 1) / sizeof(float); }

// What was read of some rows is given back.
void forget_rows(const Spec& spec, const Layer& linear, int first, int count) {
  const size_t row = static_cast<size_t>(linear.in) * sizeof(float);
  if (spec.forget)
    spec.forget(linear.weight + first * row, std::min(count, linear.out - first) * row);
}

// Runs pack(first panel, end), which says whether all weights are finite, for each segment.
template <class Pack>
void pack_segments(const Spec& spec, const Layer& linear, const Kernels& kernels, Team& team,
                   PackedLinear& packed, const Pack& pack) {
  const int panel = 2 * kernels.vector, segment = kernels.linear_panels;
  std::atomic<bool> is_finite{true};
  team.run([&](int) {
    const int segments = (packed.panels + segment - 1) / segment;
    for (int index = team.claim(); index < segments; index = team.claim()) {
      const int first = index * segment, end = std::min(first + segment, packed.panels);
      if (!pack(first, end)) is_finite = false;
      forget_rows(spec, linear, first * panel, (end - first) * panel);
    }
  });
  packed.reads_all = !is_finite;
}

template <class Weights>
PackedLinear pack_linear_as(const Spec& spec, const Layer& linear, const Kernels& kernels,
                            Team& team, Arena& arena) {
  using Number = typename Weights::Number;
  // Long enough that each row of weights is read as a stream.
  constexpr int features_at_a_time = 256;
  const int panel = 2 * kernels.vector, segment = kernels.linear_panels;
  PackedLinear packed = shape_of(linear, kernels, longest_column / sizeof(Number), team.size());
  packed.format = Weights::format;
  packed.weights =
      arena.floats(floats_of(product({packed.panels, panel, linear.in, sizeof(Number)})));
  auto* const weights = reinterpret_cast<Number*>(packed.weights.data());

  // Some features of a panel; whether its weights are all finite.
  const auto pack_tile = [&](int index, int first_feature, int features) {
    Number columns[features_at_a_time][widest_panel];
    const int first = index * panel, outputs = std::min(panel, linear.out - first);
    if (outputs < panel) std::memset(columns, 0, sizeof columns);
    int too_large = 0;
    for (int output = 0; output < outputs; ++output) {
      const size_t start = static_cast<size_t>(first + output) * linear.in + first_feature;
      const uint8_t* from = linear.weight + start * sizeof(float);
      int32_t row[features_at_a_time] = {};
      if (features == features_at_a_time)  // a constant, for the compiler
        std::memcpy(row, from, sizeof row);
      else
        std::memcpy(row, from, features * sizeof(float));
      const int k = Weights::place_in_panel(output, panel);
      for (int i = 0; i < features_at_a_time; ++i) columns[i][k] = Weights::number(row[i]);
      for (int i = 0; i < features_at_a_time; ++i)
        too_large |= (row[i] & 0x7fffffff) >= Weights::infinity;
    }
    const int before = index / packed.panels_of_block * packed.panels_of_block;
    const int panels = std::min(packed.panels_of_block, packed.panels - before);
    const int turn = turn_of(panels, segment);
    const int place = index - before;
    Number* block = weights + static_cast<size_t>(before) * panel * linear.in;
    for (int i = 0; i < features; ++i) {
      const long feature = first_feature + i;
      const long turned =
          turn == 0 ? place : ((place / segment + feature) & turn) * segment + place % segment;
      std::memcpy(block + (feature * panels + turned) * panel, columns[i], panel * sizeof(Number));
    }
    return too_large == 0;
  };
  pack_segments(spec, linear, kernels, team, packed, [&](int first, int end) {
    bool finite = true;
    for (int feature = 0; feature < linear.in; feature += features_at_a_time)
      for (int index = first; index < end; ++index)
        finite &= pack_tile(index, feature, std::min(features_at_a_time, linear.in - feature));
    return finite;
  });
  return packed;
}

// ---- float28 ----

// Of a tile: a group of outputs, a cache line and more of each of their rows.
constexpr int widest_group = float28_group * widest_panel / 2, tile_features = 32;

// Largest exponent that the scale of a group, 2^(exponent - 127), leaves to its weights.
constexpr int largest_weight_exponent = largest_group_exponent - 127 + 15;

// The bits of some features' weights, by features.
struct Tile {
  int32_t bits[tile_features][widest_group];
};

void read_tile(const Layer& linear, int first_output, int outputs, int first_feature, int features,
               Tile& tile) {
  for (int output = 0; output < outputs; ++output) {
    int32_t row[tile_features] = {};
    if (first_output + output < linear.out)
      std::memcpy(
          row,
          linear.weight + (static_cast<size_t>(first_output + output) * linear.in + first_feature) *
                              sizeof(float),
          features * sizeof(float));
    for (int i = 0; i < tile_features; ++i) tile.bits[i][output] = row[i];
  }
}

// Of a group's weights of one feature, in place: sign, exponent counted from the group's own, and
// fraction, as in a word of float28. Those that do not fit become zero; `outlier` is called with
// their index and bits. Returns the group's exponent.
template <class Take>
uint8_t narrow(int32_t* bits, int outputs, const Take& outlier) {
  int32_t largest = 0;
  for (int i = 0; i < outputs; ++i) {
    const int32_t size = bits[i] & 0x7fffffff;
    largest = std::max(largest, size >> 23 <= largest_weight_exponent ? size : 0);
  }
  // Exponent zero is not for numbers, and 15 of them remain.
  const int32_t before = (largest >> 23) - 15;
  int32_t lost = 0;
  int32_t narrowed[widest_group];
  for (int i = 0; i < outputs; ++i) {
    const int32_t size = bits[i] & 0x7fffffff, exponent = (size >> 23) - before;
    const bool fits = (exponent >= 1) & (exponent <= 15) & (size >= 0x00800000);
    narrowed[i] = fits ? bits[i] - before * 0x00800000 : 0;
    lost |= fits ? 0 : size;
  }
  if (lost != 0)
    for (int i = 0; i < outputs; ++i)
      if (narrowed[i] == 0 && (bits[i] & 0x7fffffff) != 0) outlier(i, bits[i]);
  std::memcpy(bits, narrowed, outputs * sizeof(int32_t));
  return static_cast<uint8_t>(before + 127);
}

// Eight vectors into seven.
void join(const int32_t* narrowed, int lanes, uint32_t* words) {
  const int32_t* const last = narrowed + (float28_group - 1) * lanes;
  for (int lane = 0; lane < lanes; ++lane) {
    const auto bits = static_cast<uint32_t>(last[lane]);
    const uint32_t parted = (bits & 0x07ffffff) | (bits & 0x80000000) >> 4;
    for (int i = 0; i < float28_group - 1; ++i)
      words[i * lanes + lane] = static_cast<uint32_t>(narrowed[i * lanes + lane]) |
                                (parted >> 4 * i & 15) << float28_foreign_shift;
  }
}

constexpr int panels_of_group = float28_group / 2;

// Whether there are whole segments in each block, and few outliers in a sample.
bool suits_float28(const Spec& spec, const Layer& linear, const Kernels& kernels,
                   const PackedLinear& shape) {
  if (shape.panels % kernels.linear_panels != 0 ||
      shape.panels_of_block % kernels.linear_panels != 0)
    return false;
  constexpr int tiles = 16;
  constexpr long weights_of_outlier = 128;
  const int outputs = float28_group * kernels.vector, groups = shape.panels / panels_of_group;
  const int features = std::min(tile_features, linear.in);
  long outliers = 0;
  Tile tile;
  for (int i = 0; i < tiles; ++i) {
    const int first_output = static_cast<int>(static_cast<long>(groups) * i / tiles) * outputs;
    const long first_feature = static_cast<long>(linear.in - features) * i / tiles;
    read_tile(linear, first_output, outputs, static_cast<int>(first_feature), features, tile);
    forget_rows(spec, linear, first_output, outputs);
    for (int feature = 0; feature < features; ++feature)
      narrow(tile.bits[feature], outputs, [&](int, int32_t) { ++outliers; });
  }
  return outliers * weights_of_outlier <= static_cast<long>(tiles) * features * outputs;
}

PackedLinear pack_float28(const Spec& spec, const Layer& linear, const Kernels& kernels, Team& team,
                          Arena& arena, PackedLinear packed) {
  static_assert(linear_chunk == tile_features, "a tile's outliers are of one chunk");
  const int lanes = kernels.vector, segment = kernels.linear_panels;
  const int outputs = float28_group * lanes;
  const int words_of_group = (float28_group - 1) * lanes;
  const int groups = packed.panels / panels_of_group;
  const int groups_of_block = packed.panels_of_block / panels_of_group;
  packed.format = LinearFormat::float28;
  packed.weights = arena.floats(product({linear.in, groups, words_of_group}));
  packed.exponents.resize(product({linear.in, groups}));
  packed.outliers.resize(packed.panels / segment);
  packed.outlier_starts.resize(packed.panels / segment);
  auto* const words = reinterpret_cast<uint32_t*>(packed.weights.data());

  pack_segments(spec, linear, kernels, team, packed, [&](int first_panel, int end_panel) {
    std::vector<Outlier>& outliers = packed.outliers[first_panel / segment];
    std::vector<unsigned>& starts = packed.outlier_starts[first_panel / segment];
    const int first_group = first_panel / panels_of_group, end_group = end_panel / panels_of_group;
    const int block = first_group / groups_of_block * groups_of_block;
    const int width = std::min(groups_of_block, groups - block);  // of the block, in groups
    bool is_finite = true;
    Tile tile;
    for (int chunk = 0; chunk < linear.in; chunk += tile_features) {
      const int features = std::min(tile_features, linear.in - chunk);
      starts.push_back(static_cast<unsigned>(outliers.size()));
      for (int group = first_group; group < end_group; ++group) {
        read_tile(linear, group * outputs, outputs, chunk, features, tile);
        for (int i = 0; i < features; ++i) {
          const size_t place = static_cast<size_t>(block) * linear.in +
                               static_cast<size_t>(chunk + i) * width + (group - block);
          packed.exponents[place] = narrow(tile.bits[i], outputs, [&](int output, int32_t bits) {
            outliers.push_back(
                {static_cast<unsigned short>(i),
                 static_cast<unsigned short>((group - first_group) * outputs + output),
                 Float32::number(bits)});
            is_finite &= (bits & 0x7fffffff) < Float32::infinity;
          });
          join(tile.bits[i], lanes, words + place * words_of_group);
        }
      }
    }
    starts.push_back(static_cast<unsigned>(outliers.size()));
    return is_finite;
  });
  for (size_t i = 0; i < packed.outliers.size(); ++i)
    packed.outliers_of_segment.push_back(
        {packed.outliers[i].data(), packed.outlier_starts[i].data()});
  return packed;
}

}  // namespace

PackedLinear pack_linear(const Spec& spec, const Layer& linear, const Kernels& kernels, Team& team,
                         Arena& arena) {
  if (spec.precision == Precision::bf16_classifier)
    return pack_linear_as<Bfloat16>(spec, linear, kernels, team, arena);
  PackedLinear shape = shape_of(linear, kernels, longest_float28_column, team.size());
  return suits_float28(spec, linear, kernels, shape)
             ? pack_float28(spec, linear, kernels, team, arena, std::move(shape))
             : pack_linear_as<Float32>(spec, linear, kernels, team, arena);
}

}  // namespace vgg
