#include "pack.h"

#include <cmath>
#include <vector>

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

Floats packed_bias(const Affine& affine, int panel) {
  const int outputs = static_cast<int>(affine.shift.size());
  Floats bias(product({panels_of(outputs, panel), panel}));
  for (int output = 0; output < outputs; ++output)
    bias.data()[output] = static_cast<float>(affine.shift[output]);
  return bias;
}

namespace {

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

}  // namespace vgg
