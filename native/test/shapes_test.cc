// Every kernel, of every instruction set, against float64 over many shapes: shapes_test [quick].
// All counts of channels from 1 to 130, sizes from 1 to 40 and batches from 1 to 5 come, with
// pooling and without; the end of main() says so of what was run. `quick` is for the slow
// sanitizers.
//
// A map is too large to be the logits, so eight random sums of it are. A single number of it that
// is wrong still moves each by about 1 / sqrt(numbers) of its size, 2e-3 for the largest map here.
#include <cstring>
#include <set>
#include <string>
#include <utility>

#include "check.h"
#include "machine.h"
#include "networks.h"
#include "reference.h"

namespace vgg {
namespace {

constexpr int most_channels = 130, largest_size = 40, largest_batch = 5, sums = 8;

// What the engine promises for whole networks. Much of it goes to the long sums of numbers in noise
// that cancel each other.
constexpr double limit = 1e-5;

struct Seen {
  std::set<int> in, out;
  std::set<std::pair<int, bool>> sizes, batches;  // and whether there was pooling

  void add(int input_channels, int output_channels, int size, int n, bool pool) {
    in.insert(input_channels);
    out.insert(output_channels);
    sizes.insert({size, pool});
    batches.insert({n, pool});
  }
  // A map of one pixel a side cannot be pooled.
  bool is_all() const {
    return in.size() == most_channels && out.size() == most_channels &&
           sizes.size() == 2 * largest_size - 1 && batches.size() == 2 * largest_batch;
  }
};

// In 130 rounds: each number of input channels and each of output channels once, each size with
// pooling and without, in batches of three sizes.
struct Shape {
  int in, out, size, n;
  bool pool;

  explicit Shape(int round)
      : in(round + 1),
        out(round * 37 % most_channels + 1),
        size(round % largest_size + 1),
        n((round * 3 + round / largest_size) % largest_batch + 1),
        pool(size > 1 && (round + round / largest_size) % 2 == 0) {}
  // Multiplications of the convolution.
  long work() const { return 9L * in * out * size * size * n; }
};

std::vector<double> reference_logits(const Spec& spec, const std::vector<uint8_t>& pixels, int n) {
  std::vector<double> logits;
  for (int picture = 0; picture < n; ++picture) {
    const auto values =
        reference_run(spec, pixels.data() + picture * pixels.size() / n, spec.layers.size()).values;
    logits.insert(logits.end(), values.begin(), values.end());
  }
  return logits;
}

// The largest difference to float64, as a part of the largest logit; infinity for NaN.
double error_of(const std::vector<float>& logits, const std::vector<double>& right) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    const double error = std::abs(logits[i] - right[i]);
    if (!(error <= difference)) difference = std::isnan(error) ? INFINITY : error;
    largest = std::max(largest, std::abs(right[i]));
  }
  return difference / largest;
}

double worst = 0;

// Runs `spec` as it is. What it is called when it is wrong: `what` and the numbers of the shape.
void check_run(const Spec& spec, const std::vector<uint8_t>& pixels,
               const std::vector<double>& right, const char* what, const Shape& shape) {
  std::vector<float> logits(right.size());
  Engine::create(spec)->run(pixels.data(), shape.n, logits.data());
  const double error = error_of(logits, right);
  worst = std::max(worst, error);
  CHECK(error <= limit, "%s, %s, %d to %d, %d x %d, batch %d, pool %d, %d threads: error %.2e",
        spec.isa, what, shape.in, shape.out, shape.size, shape.size, shape.n, shape.pool,
        spec.threads, error);
}

// A convolution behind one that makes its input out of three channels. The tiles share a reference.
void test_convolution(const Shape& shape, int round, int kernel,
                      const std::vector<const char*>& isas) {
  Network network(shape.size, static_cast<unsigned>(round + 1));
  network.conv(shape.in).relu().conv(shape.out, kernel);
  const size_t conv = network.spec.layers.size() - 1;
  if (round % 3 == 0) network.batchnorm();
  if (round % 4 != 0) network.relu();
  if (shape.pool) network.maxpool();
  network.flatten().linear(sums);
  Spec& spec = network.spec;
  spec.max_batch = shape.n;
  spec.threads = round % 3 + 1;
  const auto pixels = network.pixels(shape.n);
  const auto right = reference_logits(spec, pixels, shape.n);
  for (const char* isa : isas) {
    spec.isa = isa;
    if (kernel == 1) {
      check_run(spec, pixels, right, "1x1", shape);
      continue;
    }
    for (const int tile : {0, 2, 4, 6}) {
      spec.layers[conv].tile = tile;
      check_run(spec, pixels, right, ("3x3 by tile " + std::to_string(tile)).c_str(), shape);
    }
  }
}

// The direct convolution of the pixels.
void test_first_layer(const Shape& shape, int round, const std::vector<const char*>& isas) {
  Network network(shape.size, static_cast<unsigned>(round + 1));
  network.conv(shape.out);
  if (round % 3 == 0) network.batchnorm();
  if (round % 4 != 0) network.relu();
  if (shape.pool) network.maxpool();
  network.flatten().linear(sums);
  Spec& spec = network.spec;
  spec.max_batch = shape.n;
  spec.threads = round % 3 + 1;
  const auto pixels = network.pixels(shape.n);
  const auto right = reference_logits(spec, pixels, shape.n);
  for (const char* isa : isas) {
    spec.isa = isa;
    check_run(spec, pixels, right, "first layer", shape);
  }
}

// Pictures of one pixel, so that channels become features; each output is compared.
void test_linear(const Shape& shape, int round, const std::vector<const char*>& isas) {
  Network network(1, static_cast<unsigned>(round + 1));
  network.conv(shape.in).flatten().linear(shape.out);
  if (round % 2 == 0) network.relu().linear(shape.in);
  Spec& spec = network.spec;
  spec.max_batch = shape.n;
  spec.threads = round % 3 + 1;
  const auto pixels = network.pixels(shape.n);
  const auto right = reference_logits(spec, pixels, shape.n);
  for (const char* isa : isas) {
    spec.isa = isa;
    check_run(spec, pixels, right, "linear", shape);
  }
}

// Local response normalisation, the pooling that no convolution takes along, adaptive average
// pooling.
void test_small_layers(const Shape& shape, int round, const std::vector<const char*>& isas) {
  Network network(shape.size, static_cast<unsigned>(round + 1));
  network.conv(shape.out).relu().lrn(round % 7 + 1, 1e-2, 0.75, 1);
  if (shape.pool) network.maxpool();
  network.avgpool(round % 7 + 1, round % 5 + 1).flatten().linear(sums);
  Spec& spec = network.spec;
  spec.max_batch = shape.n;
  spec.threads = round % 3 + 1;
  const auto pixels = network.pixels(shape.n);
  const auto right = reference_logits(spec, pixels, shape.n);
  for (const char* isa : isas) {
    spec.isa = isa;
    check_run(spec, pixels, right, "LRN, pooling", shape);
  }
}

}  // namespace
}  // namespace vgg

int main(int argc, char** argv) {
  using namespace vgg;
  const bool quick = argc > 1 && std::strcmp(argv[1], "quick") == 0;
  const auto isas = instruction_sets();
  Seen seen;
  for (int round = 0; round < most_channels; ++round) {
    const Shape shape(round);
    if (quick && (round % 3 != 0 || shape.work() > 4'000'000)) continue;
    seen.add(shape.in, shape.out, shape.size, shape.n, shape.pool);
    test_convolution(shape, round, 3, isas);
    test_convolution(shape, round, 1, isas);
    test_first_layer(shape, round, isas);
    test_linear(shape, round, isas);
    test_small_layers(shape, round, isas);
  }
  std::printf("largest error: %.1e of the largest sum\n", worst);
  CHECK(quick || seen.is_all(), "%zu and %zu numbers of channels, %zu sizes, %zu batches",
        seen.in.size(), seen.out.size(), seen.sizes.size(), seen.batches.size());
  return summary();
}
