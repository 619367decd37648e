// The same networks by the plainest loops in float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../src/engine.h"
#include "../src/memory.h"

namespace vgg {

struct ReferenceMap {
  int channels, height, width;
  std::vector<double> values;  // [channels][height][width]

  ReferenceMap(int c, int h, int w)
      : channels(c), height(h), width(w), values(static_cast<size_t>(c) * h * w) {}
  double& at(int c, int y, int x) {
    return values[(static_cast<size_t>(c) * height + y) * width + x];
  }
  double at(int c, int y, int x) const {
    return values[(static_cast<size_t>(c) * height + y) * width + x];
  }
};

inline ReferenceMap reference_convolution(const Layer& layer, const ReferenceMap& in) {
  ReferenceMap out(layer.out, in.height, in.width);
  const int k = layer.kernel;
  for (int o = 0; o < layer.out; ++o) {
    std::fill_n(&out.at(o, 0, 0), static_cast<size_t>(in.height) * in.width,
                read_float(layer.bias, o));
    for (int i = 0; i < layer.in; ++i)
      for (int ky = 0; ky < k; ++ky)
        for (int kx = 0; kx < k; ++kx) {
          const double w =
              read_float(layer.weight, ((static_cast<size_t>(o) * layer.in + i) * k + ky) * k + kx);
          const int dy = ky - layer.padding, dx = kx - layer.padding;
          for (int y = std::max(0, -dy); y < std::min(in.height, in.height - dy); ++y)
            for (int x = std::max(0, -dx); x < std::min(in.width, in.width - dx); ++x)
              out.at(o, y, x) += w * in.at(i, y + dy, x + dx);
        }
  }
  return out;
}

inline ReferenceMap reference_layer(const Layer& layer, const ReferenceMap& in) {
  ReferenceMap out = in;
  switch (layer.kind) {
    case Layer::Kind::conv: return reference_convolution(layer, in);
    case Layer::Kind::relu:
      for (double& value : out.values) value = std::max(value, 0.0);
      return out;
    case Layer::Kind::batchnorm:
      for (int c = 0; c < in.channels; ++c) {
        const double scale = read_float(layer.gamma, c) /
                             std::sqrt(static_cast<double>(read_float(layer.var, c)) + layer.eps);
        for (int y = 0; y < in.height; ++y)
          for (int x = 0; x < in.width; ++x)
            out.at(c, y, x) =
                (in.at(c, y, x) - read_float(layer.mean, c)) * scale + read_float(layer.beta, c);
      }
      return out;
    case Layer::Kind::lrn:
      for (int c = 0; c < in.channels; ++c)
        for (int y = 0; y < in.height; ++y)
          for (int x = 0; x < in.width; ++x) {
            double sum = 0;
            for (int i = c - layer.lrn_size / 2; i <= c + (layer.lrn_size - 1) / 2; ++i)
              if (i >= 0 && i < in.channels) sum += in.at(i, y, x) * in.at(i, y, x);
            out.at(c, y, x) /=
                std::pow(layer.lrn_k + layer.lrn_alpha / layer.lrn_size * sum, layer.lrn_beta);
          }
      return out;
    case Layer::Kind::maxpool:
      out = ReferenceMap(in.channels, in.height / 2, in.width / 2);
      for (int c = 0; c < out.channels; ++c)
        for (int y = 0; y < out.height; ++y)
          for (int x = 0; x < out.width; ++x)
            out.at(c, y, x) =
                std::max(std::max(in.at(c, 2 * y, 2 * x), in.at(c, 2 * y, 2 * x + 1)),
                         std::max(in.at(c, 2 * y + 1, 2 * x), in.at(c, 2 * y + 1, 2 * x + 1)));
      return out;
    case Layer::Kind::avgpool:
      out = ReferenceMap(in.channels, layer.pool_h, layer.pool_w);
      for (int c = 0; c < out.channels; ++c)
        for (int y = 0; y < out.height; ++y)
          for (int x = 0; x < out.width; ++x) {
            const int y0 = y * in.height / out.height,
                      y1 = ((y + 1) * in.height + out.height - 1) / out.height;
            const int x0 = x * in.width / out.width,
                      x1 = ((x + 1) * in.width + out.width - 1) / out.width;
            double sum = 0;
            for (int row = y0; row < y1; ++row)
              for (int column = x0; column < x1; ++column) sum += in.at(c, row, column);
            out.at(c, y, x) = sum / ((y1 - y0) * (x1 - x0));
          }
      return out;
    case Layer::Kind::flatten:
      out.channels = static_cast<int>(in.values.size());
      out.height = out.width = 1;
      return out;
    case Layer::Kind::linear:
      out = ReferenceMap(layer.out, 1, 1);
      for (int o = 0; o < layer.out; ++o) {
        double sum = read_float(layer.bias, o);
        for (int i = 0; i < layer.in; ++i)
          sum +=
              static_cast<double>(read_float(layer.weight, static_cast<size_t>(o) * layer.in + i)) *
              in.values[i];
        out.values[o] = sum;
      }
      return out;
  }
  return out;
}

// The layers [0, end) on one picture.
inline ReferenceMap reference_run(const Spec& spec, const uint8_t* pixels, size_t end) {
  ReferenceMap map(3, spec.input_size, spec.input_size);
  for (int y = 0; y < map.height; ++y)
    for (int x = 0; x < map.width; ++x)
      for (int c = 0; c < 3; ++c)
        map.at(c, y, x) =
            (pixels[(static_cast<size_t>(y) * map.width + x) * 3 + c] / 255.0 - spec.mean[c]) /
            spec.std[c];
  for (size_t i = 0; i < end; ++i) map = reference_layer(spec.layers[i], map);
  return map;
}

// The largest difference to float64, as a part of the largest number.
inline double error_of(const Spec& spec, size_t layers, const std::vector<uint8_t>& pixels, int n,
                const std::vector<float>& logits) {
  double difference = 0, largest = 0;
  for (int picture = 0; picture < n; ++picture) {
    const size_t bytes = size_t{3} * spec.input_size * spec.input_size;
    const ReferenceMap reference = reference_run(spec, pixels.data() + picture * bytes, layers);
    for (int i = 0; i < spec.classes; ++i) {
      const double right = reference.values[i];
      const double error =
          std::abs(logits[static_cast<size_t>(picture) * spec.classes + i] - right);
      if (!(error <= difference)) difference = std::isnan(error) ? INFINITY : error;
      largest = std::max(largest, std::abs(right));
    }
  }
  return difference / largest;
}

}  // namespace vgg
