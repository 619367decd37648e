// Networks as the bfloat16 engine runs them, by the plainest loops: rounded where it rounds, and in
// float64 between.
#pragma once

#include <cstring>

#include "../src/bf16.h"
#include "../src/cook_toom.h"
#include "reference.h"

namespace vgg {

inline double rounded(double value) {
  return from_bfloat16(to_bfloat16(static_cast<float>(value)));
}

inline void round_all(std::vector<double>& values) {
  for (double& value : values) value = rounded(value);
}

// What a layer and the batch norm behind it multiply by, and add, to each output.
struct BatchNormed {
  double scale = 1, shift;
  BatchNormed(const Layer& layer, const Layer* batchnorm, int output)
      : shift(layer.bias ? read_float(layer.bias, output) : 0) {
    if (!batchnorm) return;
    scale = read_float(batchnorm->gamma, output) /
            std::sqrt(static_cast<double>(read_float(batchnorm->var, output)) + batchnorm->eps);
    shift =
        (shift - read_float(batchnorm->mean, output)) * scale + read_float(batchnorm->beta, output);
  }
};

// A convolution or a linear layer: the weights are scaled in float64 and rounded, the bias becomes
// a float32.
inline ReferenceMap bf16_reference_weighted(const Layer& layer, const Layer* batchnorm,
                                            const ReferenceMap& in) {
  const int taps = layer.kind == Layer::Kind::conv ? layer.kernel * layer.kernel : 1;
  const size_t of_output = static_cast<size_t>(layer.in) * taps;
  std::vector<float> weights(of_output * layer.out), bias(layer.out);
  for (int o = 0; o < layer.out; ++o) {
    const BatchNormed normed(layer, batchnorm, o);
    bias[o] = static_cast<float>(normed.shift);
    for (size_t i = o * of_output; i < (o + 1) * of_output; ++i)
      weights[i] = static_cast<float>(rounded(normed.scale * read_float(layer.weight, i)));
  }
  Layer own = layer;
  own.weight = reinterpret_cast<const uint8_t*>(weights.data());
  own.bias = reinterpret_cast<const uint8_t*>(bias.data());
  return reference_layer(own, in);
}

// A^T [sum of round(G g G^T) * round(B^T d B)] A with tiles of 4x4.
inline ReferenceMap bf16_reference_winograd(const Layer& conv, const Layer* batchnorm,
                                            const ReferenceMap& in) {
  static constexpr CookToom<double, 4, 3> t{};
  using Tile = double[6][6];
  // out = left in left^T
  const auto both_sides = [](const auto& left, int rows, int inner, const auto& in, Tile& out) {
    double half[6][6] = {};
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < inner; ++j)
        for (int k = 0; k < inner; ++k) half[i][j] += left[i][k] * in[k][j];
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < rows; ++j) {
        out[i][j] = 0;
        for (int k = 0; k < inner; ++k) out[i][j] += half[i][k] * left[j][k];
      }
  };
  const auto round_tile = [](Tile& tile) {
    for (auto& row : tile)
      for (double& value : row) value = rounded(value);
  };
  struct Filter {
    Tile values;
  };
  std::vector<Filter> filters(static_cast<size_t>(conv.out) * conv.in);
  std::vector<float> bias(conv.out);
  for (int o = 0; o < conv.out; ++o) {
    const BatchNormed normed(conv, batchnorm, o);
    bias[o] = static_cast<float>(normed.shift);
    for (int i = 0; i < conv.in; ++i) {
      const size_t first = static_cast<size_t>(o) * conv.in + i;
      double g[3][3];
      for (int tap = 0; tap < 9; ++tap)
        g[tap / 3][tap % 3] = normed.scale * read_float(conv.weight, first * 9 + tap);
      both_sides(t.filter, 6, 3, g, filters[first].values);
      round_tile(filters[first].values);
    }
  }
  ReferenceMap out(conv.out, in.height, in.width);
  std::vector<Filter> inputs(conv.in);
  for (int y0 = 0; y0 < in.height; y0 += 4)
    for (int x0 = 0; x0 < in.width; x0 += 4) {
      for (int i = 0; i < conv.in; ++i) {
        Tile d;
        for (int y = 0; y < 6; ++y)
          for (int x = 0; x < 6; ++x) {
            const int row = y0 + y - 1, column = x0 + x - 1;
            const bool inside = row >= 0 && row < in.height && column >= 0 && column < in.width;
            d[y][x] = inside ? in.at(i, row, column) : 0;
          }
        both_sides(t.input, 6, 6, d, inputs[i].values);
        round_tile(inputs[i].values);
      }
      for (int o = 0; o < conv.out; ++o) {
        Tile sums = {}, outputs;
        for (int i = 0; i < conv.in; ++i) {
          const Tile& filter = filters[static_cast<size_t>(o) * conv.in + i].values;
          for (int y = 0; y < 6; ++y)
            for (int x = 0; x < 6; ++x) sums[y][x] += filter[y][x] * inputs[i].values[y][x];
        }
        both_sides(t.output, 4, 6, sums, outputs);
        for (int y = 0; y < 4 && y0 + y < in.height; ++y)
          for (int x = 0; x < 4 && x0 + x < in.width; ++x)
            out.at(o, y0 + y, x0 + x) = outputs[y][x] + bias[o];
      }
    }
  return out;
}

// Whether the engine takes Winograd's filtering for this layer.
inline bool is_winograd(const Spec& spec, size_t layer, const ReferenceMap& in) {
  const Layer& conv = spec.layers[layer];
  return std::strcmp(spec.isa, "avx512bf16") == 0 && layer > 0 && conv.kind == Layer::Kind::conv &&
         conv.kernel == 3 && std::min(in.height, in.width) >= 4;
}

// The layers [0, end) on one picture; what the last one that computes puts out is not rounded.
inline ReferenceMap bf16_reference_run(const Spec& spec, const uint8_t* pixels, size_t end) {
  ReferenceMap map(3, spec.input_size, spec.input_size);
  for (int y = 0; y < map.height; ++y)
    for (int x = 0; x < map.width; ++x)
      for (int c = 0; c < 3; ++c) {
        const float scaled =
            static_cast<float>(pixels[(static_cast<size_t>(y) * map.width + x) * 3 + c]) / 255.0f;
        map.at(c, y, x) = rounded((scaled - spec.mean[c]) / spec.std[c]);
      }
  bool is_rounded = true;
  for (size_t i = 0; i < end; ++i) {
    const Layer& layer = spec.layers[i];
    switch (layer.kind) {
      case Layer::Kind::conv:
      case Layer::Kind::linear: {
        if (!is_rounded) round_all(map.values);
        const bool is_normed = i + 1 < end && spec.layers[i + 1].kind == Layer::Kind::batchnorm;
        const Layer* batchnorm = is_normed ? &spec.layers[i + 1] : nullptr;
        map = is_winograd(spec, i, map) ? bf16_reference_winograd(layer, batchnorm, map)
                                        : bf16_reference_weighted(layer, batchnorm, map);
        i += is_normed;
        is_rounded = false;
        break;
      }
      case Layer::Kind::lrn:
      case Layer::Kind::avgpool:
        if (!is_rounded) round_all(map.values);
        map = reference_layer(layer, map);
        is_rounded = false;
        break;
      default:  // which only chooses among numbers: rounding may come before or after it
        map = reference_layer(layer, map);
    }
  }
  return map;
}

}  // namespace vgg
