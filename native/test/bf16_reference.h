// Networks as the bfloat16 engine runs them, by the plainest loops: rounded where it rounds, and in
// float64 between.
#pragma once

#include "../src/bf16.h"
#include "reference.h"

namespace vgg {

inline double rounded(double value) {
  return from_bfloat16(to_bfloat16(static_cast<float>(value)));
}

inline void round_all(std::vector<double>& values) {
  for (double& value : values) value = rounded(value);
}

// A convolution or a linear layer and the batch norm behind it: the weights are scaled in float64
// and rounded, the bias becomes a float32.
inline ReferenceMap bf16_reference_weighted(const Layer& layer, const Layer* batchnorm,
                                            const ReferenceMap& in) {
  const bool is_conv = layer.kind == Layer::Kind::conv;
  const size_t of_output =
      static_cast<size_t>(layer.in) * (is_conv ? layer.kernel * layer.kernel : 1);
  std::vector<float> weights(of_output * layer.out), bias(layer.out);
  for (int o = 0; o < layer.out; ++o) {
    double scale = 1, shift = layer.bias ? read_float(layer.bias, o) : 0;
    if (batchnorm) {
      scale = read_float(batchnorm->gamma, o) /
              std::sqrt(static_cast<double>(read_float(batchnorm->var, o)) + batchnorm->eps);
      shift = (shift - read_float(batchnorm->mean, o)) * scale + read_float(batchnorm->beta, o);
    }
    bias[o] = static_cast<float>(shift);
    for (size_t i = o * of_output; i < (o + 1) * of_output; ++i)
      weights[i] = static_cast<float>(rounded(scale * read_float(layer.weight, i)));
  }
  Layer own = layer;
  own.weight = reinterpret_cast<const uint8_t*>(weights.data());
  own.bias = reinterpret_cast<const uint8_t*>(bias.data());
  return reference_layer(own, in);
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
        map = bf16_reference_weighted(layer, is_normed ? &spec.layers[i + 1] : nullptr, map);
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
