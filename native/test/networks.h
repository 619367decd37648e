// Networks with random weights, for tests and the bench.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "../src/engine.h"

namespace vgg {

// Owns the weights, each tensor at an address that is not a multiple of four: checkpoints promise
// nothing.
class Network {
 public:
  Spec spec;

  explicit Network(int input_size, unsigned seed = 1) : random_(seed) {
    spec.input_size = input_size;
    shape_[0] = 3;
    shape_[1] = shape_[2] = input_size;
  }

  Network& conv(int out, int kernel = 3, int tile = 0) {
    Layer& layer = add(Layer::Kind::conv);
    layer.in = shape_[0];
    layer.out = shape_[0] = out;
    layer.kernel = kernel;
    layer.padding = kernel / 2;
    layer.tile = tile;
    const int fan_in = layer.in * kernel * kernel;
    layer.weight = tensor(static_cast<size_t>(out) * fan_in, 0, std::sqrt(6.0 / fan_in));
    layer.bias = tensor(out, 0, 0.05);
    return *this;
  }
  // Each output is one pixel of a neighbour, times a power of two of either sign: what bfloat16
  // holds it holds exactly.
  Network& scatter(int out) {
    Layer& layer = add(Layer::Kind::conv);
    layer.in = shape_[0];
    layer.out = shape_[0] = out;
    std::vector<float> values(static_cast<size_t>(out) * layer.in * 9);
    for (int output = 0; output < out; ++output) {
      const float power = static_cast<float>(1 << random_() % 4) / 4;
      values[output * layer.in * 9 + random_() % (layer.in * 9)] =
          random_() % 2 == 0 ? power : -power;
    }
    layer.weight = keep(values);
    return *this;
  }
  Network& batchnorm() {
    Layer& layer = add(Layer::Kind::batchnorm);
    layer.in = layer.out = shape_[0];
    layer.gamma = tensor(layer.out, 1, 0.2);
    layer.beta = tensor(layer.out, 0, 0.05);
    layer.mean = tensor(layer.out, 0, 0.1);
    layer.var = tensor(layer.out, 1, 0.5);
    return *this;
  }
  Network& relu() { return add(Layer::Kind::relu), *this; }
  Network& lrn(int size = 5, double alpha = 5e-4, double beta = 0.75, double k = 2) {
    Layer& layer = add(Layer::Kind::lrn);
    layer.lrn_size = size;
    layer.lrn_alpha = alpha;
    layer.lrn_beta = beta;
    layer.lrn_k = k;
    return *this;
  }
  Network& maxpool() {
    add(Layer::Kind::maxpool);
    shape_[1] /= 2;
    shape_[2] /= 2;
    return *this;
  }
  Network& avgpool(int height, int width) {
    Layer& layer = add(Layer::Kind::avgpool);
    layer.pool_h = shape_[1] = height;
    layer.pool_w = shape_[2] = width;
    return *this;
  }
  Network& flatten() {
    add(Layer::Kind::flatten);
    shape_[0] *= shape_[1] * shape_[2];
    shape_[1] = shape_[2] = 1;
    return *this;
  }
  Network& linear(int out) {
    Layer& layer = add(Layer::Kind::linear);
    layer.in = shape_[0];
    spec.classes = layer.out = shape_[0] = out;
    layer.weight = tensor(static_cast<size_t>(out) * layer.in, 0, std::sqrt(6.0 / layer.in));
    layer.bias = tensor(out, 0, 0.05);
    return *this;
  }

  // torchvision's make_layers; 0 is max pooling.
  Network& features(const std::vector<int>& cfg, bool with_batchnorm = false) {
    for (const int item : cfg) {
      if (item == 0) {
        maxpool();
        continue;
      }
      conv(item);
      if (with_batchnorm) batchnorm();
      relu();
    }
    return *this;
  }
  Network& classifier(int pool, int hidden, int classes) {
    return avgpool(pool, pool)
        .flatten()
        .linear(hidden)
        .relu()
        .linear(hidden)
        .relu()
        .linear(classes);
  }

  // Identity: what the layers before put out are the logits. For tests of single layers.
  Network& identity() {
    flatten();
    const int features = shape_[0];
    Layer& layer = add(Layer::Kind::linear);
    layer.in = layer.out = spec.classes = features;
    std::vector<float> values(static_cast<size_t>(features) * features);
    for (int i = 0; i < features; ++i) values[static_cast<size_t>(i) * features + i] = 1;
    layer.weight = keep(values);
    return *this;
  }

  std::vector<uint8_t> pixels(int pictures) {
    std::vector<uint8_t> bytes(static_cast<size_t>(pictures) * spec.input_size * spec.input_size *
                               3);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    return bytes;
  }

 private:
  Layer& add(Layer::Kind kind) {
    Layer layer{};
    layer.kind = kind;
    spec.layers.push_back(layer);
    return spec.layers.back();
  }
  const uint8_t* tensor(size_t count, double centre, double spread) {
    std::vector<float> values(count);
    for (float& value : values)
      value = static_cast<float>(centre + spread * (random_() / 2147483648.0 - 1));
    return keep(values);
  }
  const uint8_t* keep(const std::vector<float>& values) {
    const size_t offset = 1 + tensors_.size() % 3;
    tensors_.emplace_back(values.size() * sizeof(float) + offset);
    std::vector<uint8_t>& bytes = tensors_.back();
    const auto* from = reinterpret_cast<const uint8_t*>(values.data());
    std::copy(from, from + values.size() * sizeof(float),
              bytes.begin() + static_cast<long>(offset));
    return bytes.data() + offset;
  }

  std::mt19937 random_;
  int shape_[3];
  std::deque<std::vector<uint8_t>> tensors_;
};

}  // namespace vgg
