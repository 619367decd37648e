// Linear layers whose weights lie in float28: that they are the same numbers, and what is made of
// them.
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "../src/pack.h"
#include "check.h"
#include "machine.h"
#include "networks.h"
#include "reference.h"

namespace vgg {
namespace {

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float number_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// [out][in], as kernels.h describes the format.
std::vector<float> unpacked(const PackedLinear& packed, const Layer& linear,
                            const Kernels& kernels) {
  const int lanes = kernels.vector, group_outputs = float28_group * lanes;
  const int segment_outputs = 2 * lanes * kernels.linear_panels;
  const int width = packed.panels_of_block * 2 / float28_group;
  const int groups = packed.panels * 2 / float28_group;
  const auto* words = reinterpret_cast<const uint32_t*>(packed.weights.data());
  std::vector<float> weights(static_cast<size_t>(linear.out) * linear.in);
  for (int output = 0; output < linear.out; ++output)
    for (int feature = 0; feature < linear.in; ++feature) {
      const int group = output / group_outputs, block = group / width * width;
      const size_t place = static_cast<size_t>(block) * linear.in +
                           static_cast<size_t>(feature) * std::min(width, groups - block) +
                           (group - block);
      const uint32_t* from = words + place * (float28_group - 1) * lanes + output % lanes;
      const int vector = output % group_outputs / lanes;
      uint32_t bits = 0;
      if (vector < float28_group - 1) {
        bits = from[vector * lanes] & float28_own;
      } else {
        for (int i = 0; i < float28_group - 1; ++i)
          bits |= (from[i * lanes] & float28_foreign) >> float28_foreign_shift << 4 * i;
        bits = (bits & 0x08000000) << 4 | (bits & 0x07ffffff);
      }
      weights[static_cast<size_t>(output) * linear.in + feature] =
          number_of(bits) * std::ldexp(1.0f, packed.exponents[place] - 127);
    }
  for (size_t segment = 0; segment < packed.outliers.size(); ++segment)
    for (size_t chunk = 0; chunk + 1 < packed.outlier_starts[segment].size(); ++chunk)
      for (unsigned i = packed.outlier_starts[segment][chunk];
           i < packed.outlier_starts[segment][chunk + 1]; ++i) {
        const Outlier& outlier = packed.outliers[segment][i];
        const size_t output = segment * segment_outputs + outlier.output;
        weights[output * linear.in + chunk * linear_chunk + outlier.feature] += outlier.weight;
      }
  return weights;
}

using Weight = std::function<float(std::mt19937&)>;

float normal(std::mt19937& random) { return std::normal_distribution<float>(0, 0.01f)(random); }

// Of every exponent, zeros and numbers that are none among them.
float any_bits(std::mt19937& random) { return number_of(static_cast<uint32_t>(random())); }

// Mostly normal ones; some that do not fit, at either end.
float with_outliers(std::mt19937& random) {
  constexpr float odd[] = {0.0f, -0.0f, 1e-42f, -3e-39f, 1e-9f, -1e-12f, 70000.0f, -1e30f};
  return random() % 400 == 0 ? odd[random() % 8] : normal(random);
}

// The first layer of the spec, with other weights, which `tensor` owns.
Layer with_weights(Layer layer, const Weight& weight, std::vector<float>& tensor) {
  std::mt19937 random(7);
  tensor.resize(static_cast<size_t>(layer.out) * layer.in);
  for (float& value : tensor) value = weight(random);
  layer.weight = reinterpret_cast<const uint8_t*>(tensor.data());
  return layer;
}

Network network_of(const char* isa, int side, int out) {
  Network network(side);
  network.flatten().linear(out);
  Spec& spec = network.spec;
  for (int channel = 0; channel < 3; ++channel) spec.mean[channel] = 0, spec.std[channel] = 1;
  spec.isa = isa;
  return network;
}

void test_numbers(const char* isa) {
  const Kernels& kernels = *choose_kernels(isa);
  for (const int side : {1, 5, 11})
    for (const int out : {250, 512, 1000, 2300, 4096})
      for (const Weight& weight : {Weight(normal), Weight(with_outliers)})
        for (const int threads : {1, 3}) {
          Network network = network_of(isa, side, out);
          std::vector<float> tensor;
          const Layer linear = with_weights(network.spec.layers[1], weight, tensor);
          Team team(threads);
          Arena arena;
          const PackedLinear packed = pack_linear(network.spec, linear, kernels, team, arena);
          if (packed.format != LinearFormat::float28) {
            CHECK(packed.panels % kernels.linear_panels != 0 ||
                      packed.panels_of_block % kernels.linear_panels != 0,
                  "%s, %d outputs, %d threads", isa, out, threads);
            continue;
          }
          const std::vector<float> weights = unpacked(packed, linear, kernels);
          size_t equal = 0;
          for (size_t i = 0; i < weights.size(); ++i)
            equal += weights[i] == 0 ? tensor[i] == 0 : bits_of(weights[i]) == bits_of(tensor[i]);
          CHECK(equal == weights.size(), "%s, %d outputs, %d features: %zu of %zu weights", isa,
                out, linear.in, equal, weights.size());
        }
}

void test_formats(const char* isa) {
  const Kernels& kernels = *choose_kernels(isa);
  Network network = network_of(isa, 8, 4096);
  std::vector<float> tensor;
  Team team(2);
  const auto format_of = [&](const Weight& weight) {
    Arena arena;
    const Layer linear = with_weights(network.spec.layers[1], weight, tensor);
    return pack_linear(network.spec, linear, kernels, team, arena).format;
  };
  CHECK(format_of(normal) == LinearFormat::float28, "%s", isa);
  CHECK(format_of(with_outliers) == LinearFormat::float28, "%s", isa);
  CHECK(format_of([](std::mt19937&) { return 0.0f; }) == LinearFormat::float28, "%s", isa);
  CHECK(format_of(any_bits) == LinearFormat::float32, "%s", isa);
}

// Alone and in a batch to the bit, and what float64 makes of the same weights.
void test_runs(const char* isa) {
  for (const int side : {1, 5, 11})
    for (const int out : {1000, 2048}) {
      Network network = network_of(isa, side, out);
      Spec& spec = network.spec;
      constexpr int pictures = 5;
      spec.max_batch = pictures;
      spec.threads = 2;
      std::vector<float> tensor;
      // None that is so large that it hides all others.
      spec.layers[1] = with_weights(
          spec.layers[1],
          [](std::mt19937& random) {
            const float weight = with_outliers(random);
            return std::fabs(weight) > 1 ? 1e-7f : weight;
          },
          tensor);
      std::vector<uint8_t> pixels = network.pixels(pictures);
      std::mt19937 random(3);
      for (size_t i = 0; i < pixels.size(); ++i)
        if (random() % pictures < i * pictures / pixels.size()) pixels[i] = 0;
      const auto engine = Engine::create(spec);
      std::vector<float> logits(static_cast<size_t>(pictures) * out), alone(out);
      engine->run(pixels.data(), pictures, logits.data());
      for (int picture = 0; picture < pictures; ++picture) {
        const std::vector<uint8_t> one(pixels.begin() + picture * 3 * side * side,
                                       pixels.begin() + (picture + 1) * 3 * side * side);
        engine->run(one.data(), 1, alone.data());
        CHECK(std::memcmp(alone.data(), logits.data() + picture * out, out * sizeof(float)) == 0,
              "%s, %d features, %d outputs, picture %d", isa, 3 * side * side, out, picture);
        const double error = error_of(spec, spec.layers.size(), one, 1, alone);
        CHECK(error < 2e-6, "%s, %d features, %d outputs: error %.2e", isa, 3 * side * side, out,
              error);
      }
    }
}

// One that is no number reaches the outputs that it should, though it is multiplied by zero.
void test_no_number(const char* isa) {
  for (const float weight : {std::numeric_limits<float>::infinity(), NAN}) {
    Network network = network_of(isa, 4, 2048);
    std::vector<float> tensor;
    network.spec.layers[1] = with_weights(network.spec.layers[1], normal, tensor);
    constexpr int output = 1031, feature = 35;
    tensor[output * 48 + feature] = weight;
    const std::vector<uint8_t> pixels(48);  // zeros
    std::vector<float> logits(2048);
    Engine::create(network.spec)->run(pixels.data(), 1, logits.data());
    for (int i = 0; i < 2048; ++i)
      CHECK(i == output ? std::isnan(logits[i])
                        : logits[i] == read_float(network.spec.layers[1].bias, i),
            "%s, weight %g: output %d is %g", isa, weight, i, logits[i]);
  }
}

}  // namespace
}  // namespace vgg

int main() {
  using namespace vgg;
  for (const char* isa : instruction_sets()) {
    test_numbers(isa);
    test_formats(isa);
    test_runs(isa);
    test_no_number(isa);
  }
  return summary();
}
