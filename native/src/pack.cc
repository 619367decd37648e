#include "pack.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "bf16.h"
#include "cook_toom.h"

namespace vgg {

Affine affine_of(const Layer& conv, const Layer* batchnorm) {
  Affine affine{std::vector<double>(conv.out, 1.0), std::vector<double>(conv.out, 0.0)};
  for (int output = 0; output < conv.out; ++output) {
    double& scale = affine.scale[output];
    double& shift = affine.shift[output];
    if (conv.bias) shift = read_float(conv.bias, output);
    if (!batchnorm) continue;
    scale = 1 / std::sqrt(static_cast<double>(read_float(batchnorm->var, output)) + batchnorm->eps);
    if (batchnorm->gamma) scale *= read_float(batchnorm->gamma, output);
    shift = (shift - read_float(batchnorm->mean, output)) * scale;
    if (batchnorm->beta) shift += read_float(batchnorm->beta, output);
  }
  return affine;
}

namespace {

int panels_of(int outputs, int panel) { return (outputs + panel - 1) / panel; }

Floats packed_bias(const Affine& affine, int panel) {
  const int outputs = static_cast<int>(affine.shift.size());
  Floats bias(product({panels_of(outputs, panel), panel}));
  for (int output = 0; output < outputs; ++output)
    bias.data()[output] = static_cast<float>(affine.shift[output]);
  return bias;
}

constexpr int widest_panel = 32;

// G g G^T of one input channel for one panel of outputs. to: [xi][...][panel], `plane` floats
// between two xi.
template <int tile, int taps>
void transform_filters(const double (&g)[taps * taps][widest_panel], int panel, float* to,
                       size_t plane) {
  static constexpr CookToom<double, tile, taps> matrices{};
  constexpr int size = tile + taps - 1;
  double columns[size][taps][widest_panel] = {};  // G g
  for (int i = 0; i < size; ++i)
    for (int ky = 0; ky < taps; ++ky)
      for (int kx = 0; kx < taps; ++kx)
        for (int k = 0; k < panel; ++k)
          columns[i][kx][k] += matrices.filter[i][ky] * g[ky * taps + kx][k];
  for (int i = 0; i < size; ++i)
    for (int j = 0; j < size; ++j) {
      double sum[widest_panel] = {};
      for (int kx = 0; kx < taps; ++kx)
        for (int k = 0; k < panel; ++k) sum[k] += columns[i][kx][k] * matrices.filter[j][kx];
      for (int k = 0; k < panel; ++k) to[(i * size + j) * plane + k] = static_cast<float>(sum[k]);
    }
}

// The taps of one input channel for a panel of outputs, zeros past the last.
template <int count>
void read_taps(const Layer& conv, const Affine& affine, int first, int panel, int input,
               double (&g)[count][widest_panel]) {
  for (int k = 0; k < panel; ++k) {
    const int output = first + k;
    for (int tap = 0; tap < count; ++tap)
      g[tap][k] =
          output < conv.out
              ? affine.scale[output] *
                    read_float(conv.weight,
                               (static_cast<size_t>(output) * conv.in + input) * count + tap)
              : 0;
  }
}

template <int tile, int taps>
Floats pack(const Layer& conv, const Affine& affine, int panel, Team& team, Arena& arena) {
  constexpr int size = tile + taps - 1;
  const int panels = panels_of(conv.out, panel);
  const size_t plane = product({panels, conv.in, panel});
  Floats filters = arena.floats(product({size, size, panels, conv.in, panel}));
  team.run([&](int) {
    double g[taps * taps][widest_panel];
    for (int index = team.claim(); index < panels; index = team.claim()) {
      float* to = filters.data() + static_cast<size_t>(index) * conv.in * panel;
      for (int input = 0; input < conv.in; ++input, to += panel) {
        read_taps(conv, affine, index * panel, panel, input, g);
        transform_filters<tile, taps>(g, panel, to, plane);
      }
    }
  });
  return filters;
}

}  // namespace

PackedConvolution pack_winograd(const Layer& conv, const Layer* batchnorm, int tile,
                                const Kernels& kernels, Team& team, Arena& arena) {
  const int panel = 2 * kernels.vector;
  const Affine affine = affine_of(conv, batchnorm);
  Floats filters = tile == 1   ? pack<1, 1>(conv, affine, panel, team, arena)
                   : tile == 2 ? pack<2, 3>(conv, affine, panel, team, arena)
                   : tile == 4 ? pack<4, 3>(conv, affine, panel, team, arena)
                               : pack<6, 3>(conv, affine, panel, team, arena);
  return {std::move(filters), packed_bias(affine, panel)};
}

PackedConvolution pack_first_layer(const Layer& conv, const Layer* batchnorm,
                                   const Kernels& kernels) {
  const int panel = 2 * kernels.vector;
  const Affine affine = affine_of(conv, batchnorm);
  const int panels = panels_of(conv.out, panel);
  Floats filters(product({panels, 27, panel}));
  double g[9][widest_panel];
  for (int index = 0; index < panels; ++index)
    for (int input = 0; input < 3; ++input) {
      read_taps(conv, affine, index * panel, panel, input, g);
      for (int tap = 0; tap < 9; ++tap)
        for (int k = 0; k < panel; ++k)
          filters.data()[(static_cast<size_t>(index) * 27 + tap * 3 + input) * panel + k] =
              static_cast<float>(g[tap][k]);
    }
  return {std::move(filters), packed_bias(affine, panel)};
}

namespace {

// Of the bits of a float32, infinity being the smallest of those that end as no finite number.
struct Float32 {
  using Number = float;
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
  static constexpr int32_t infinity = 0x7f7f8000;  // half a step above the largest number
  static Number number(int32_t bits) { return to_bfloat16(Float32::number(bits)); }
  // The outputs j and j + half a panel lie side by side.
  static int place_in_panel(int output, int panel) {
    return output % (panel / 2) * 2 + output / (panel / 2);
  }
};

// Of a block's columns. Where the columns that a run reads are long, less of what the processor
// fetches ahead of them by itself is in vain.
constexpr int longest_column = 4096;  // bytes

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

template <class Weights>
PackedLinear pack_linear_as(const Spec& spec, const Layer& linear, const Kernels& kernels,
                            Team& team, Arena& arena) {
  using Number = typename Weights::Number;
  // Long enough that each row of weights is read as a stream.
  constexpr int features_at_a_time = 256;
  const int panel = 2 * kernels.vector, segment = kernels.linear_panels;
  PackedLinear packed;
  packed.panels = panels_of(linear.out, panel);
  packed.panels_of_block = panels_of_block(
      packed.panels, longest_column / (panel * static_cast<int>(sizeof(Number))), team.size());
  packed.bias = packed_bias(affine_of(linear, nullptr), panel);
  packed.weights = arena.floats(
      (product({packed.panels, panel, linear.in, sizeof(Number)}) + sizeof(float) - 1) /
      sizeof(float));
  auto* const weights = reinterpret_cast<Number*>(packed.weights.data());
  std::atomic<bool> is_finite{true};

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
  team.run([&](int) {
    bool finite = true;
    const int units = (packed.panels + segment - 1) / segment;
    for (int unit = team.claim(); unit < units; unit = team.claim()) {
      const int first = unit * segment, end = std::min(first + segment, packed.panels);
      for (int feature = 0; feature < linear.in; feature += features_at_a_time)
        for (int index = first; index < end; ++index)
          finite &= pack_tile(index, feature, std::min(features_at_a_time, linear.in - feature));
      const size_t row = static_cast<size_t>(linear.in) * sizeof(float);
      const int rows = std::min(end * panel, linear.out) - first * panel;
      if (spec.forget) spec.forget(linear.weight + first * panel * row, rows * row);
    }
    if (!finite) is_finite = false;
  });
  packed.reads_all = !is_finite;
  return packed;
}

}  // namespace

PackedLinear pack_linear(const Spec& spec, const Layer& linear, const Kernels& kernels, Team& team,
                         Arena& arena) {
  return spec.precision == Precision::bf16_classifier
             ? pack_linear_as<Bfloat16>(spec, linear, kernels, team, arena)
             : pack_linear_as<Float32>(spec, linear, kernels, team, arena);
}

}  // namespace vgg
