// Tests of the engine against float64: core_test [quick]. `quick` is for the
// slow sanitizers.
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>

#include "../src/isa.h"
#include "../src/team.h"
#include "check.h"
#include "machine.h"
#include "networks.h"
#include "reference.h"

namespace vgg {
namespace {

// ---- networks ----

std::vector<float> run(const Spec& spec, const std::vector<uint8_t>& pixels, int n) {
  std::vector<float> logits(static_cast<size_t>(n) * spec.classes);
  Engine::create(spec)->run(pixels.data(), n, logits.data());
  return logits;
}

// One convolution under test, behind one that makes `in` channels out of three; its map is the
// answer.
void test_convolution(const char* isa, int in, int out, int size, int n, int kernel, int tile,
                      bool pool, int threads) {
  Network network(size, static_cast<unsigned>(in * 131 + out * 17 + size));
  network.conv(in, 3, size % 2 == 1 ? 2 : 0).relu().conv(out, kernel, tile);
  if (size % 3 != 0) network.batchnorm();
  if (size % 5 != 0) network.relu();
  if (pool) network.maxpool();
  const size_t layers = network.spec.layers.size();
  network.identity();
  network.spec.isa = isa;
  network.spec.max_batch = n;
  network.spec.threads = threads;
  const std::vector<uint8_t> pixels = network.pixels(n);
  const double error = error_of(network.spec, layers, pixels, n, run(network.spec, pixels, n));
  // The larger the tile, the larger the numbers that cancel each other; noise, as here, is the
  // worst of pictures.
  CHECK(error < (tile == 1 || tile == 2 ? 4e-6
                 : tile == 4            ? 2e-5
                                        : 4e-5),
        "%s, %d to %d channels, %d x %d, batch %d, kernel %d, F%d, pool %d: error %.2e", isa, in,
        out, size, size, n, kernel, tile, pool, error);
}

void test_convolutions(const char* isa, bool quick) {
  std::mt19937 random(7);
  const auto between = [&](int low, int high) {
    return low + static_cast<int>(random() % (high - low + 1));
  };
  for (int round = 0; round < (quick ? 6 : 60); ++round) {
    for (const int tile : {1, 2, 4, 6}) {
      // A map of more than 10 x 10 has few channels, or the identity behind it would be large.
      const int size = round < 12 ? round + 1 : between(1, 40);
      const int most = std::min(130, 3600 / (size * size) + 1);
      const bool pool = size > 1 && round % 2 == 1;
      const int out = between(1, pool ? std::min(130, most * 4) : most);
      test_convolution(isa, between(1, 130), out, size, between(1, 5), tile == 1 ? 1 : 3,
                       tile == 1 ? 0 : tile, pool, between(1, 3));
    }
  }
  for (const int channels : {15, 16, 17, 32, 33, 64, 130})
    test_convolution(isa, channels, 130, 5, 2, 3, 0, false, 2);
}

void test_first_layer(const char* isa) {
  for (const int size : {1, 2, 3, 13, 14, 15, 29, 40})
    for (const int out : {1, 3, 16, 17, 40})
      for (const bool pool : {false, true}) {
        if (pool && size == 1) continue;
        if (out * size * size > (pool ? 8000 : 3000)) continue;
        Network network(size);
        network.conv(out).relu();
        if (pool) network.maxpool();
        const size_t layers = network.spec.layers.size();
        network.identity();
        network.spec.isa = isa;
        network.spec.max_batch = 3;
        const std::vector<uint8_t> pixels = network.pixels(3);
        const double error =
            error_of(network.spec, layers, pixels, 3, run(network.spec, pixels, 3));
        CHECK(error < 2e-6, "%s, first layer, %d outputs, %d pixels, pool %d: error %.2e", isa, out,
              size, pool, error);
      }
}

void test_linear(const char* isa) {
  for (const int size : {1, 2, 5})
    for (const int out : {1, 2, 15, 16, 17, 67})
      for (const int n : {1, 2, 3, 4, 5, 7, 13}) {
        Network network(size, static_cast<unsigned>(out));
        network.flatten().linear(out).relu().linear(out + 3);
        network.spec.isa = isa;
        network.spec.max_batch = n;
        network.spec.threads = 2;
        const std::vector<uint8_t> pixels = network.pixels(n);
        const double error = error_of(network.spec, network.spec.layers.size(), pixels, n,
                                      run(network.spec, pixels, n));
        CHECK(error < 2e-6, "%s, linear, %d features, %d outputs, batch %d: error %.2e", isa,
              3 * size * size, out, n, error);
      }
}

// All zeros, a single number at either place, every second, every fifth or so, none.
std::vector<std::vector<uint8_t>> sparse_inputs(int features, std::mt19937& random) {
  std::vector<std::vector<uint8_t>> inputs(6, std::vector<uint8_t>(features));
  for (int i = 0; i < features; ++i) {
    const auto byte = static_cast<uint8_t>(random() % 255 + 1);
    inputs[1][i] = i == features / 2 ? byte : 0;
    inputs[2][i] = i == features - 1 ? byte : 0;
    inputs[3][i] = i % 2 == 0 ? byte : 0;
    inputs[4][i] = random() % 5 == 0 ? byte : 0;
    inputs[5][i] = byte;
  }
  return inputs;
}

// Pixels are the features, three to a pixel: mean 0 and deviation 1 leave bytes of zero zeros.
Network sparse_network(const char* isa, Precision precision, int side, int out) {
  Network network(side, static_cast<unsigned>(out));
  network.flatten().linear(out);
  Spec& spec = network.spec;
  for (int channel = 0; channel < 3; ++channel) spec.mean[channel] = 0, spec.std[channel] = 1;
  spec.isa = isa;
  spec.precision = precision;
  spec.max_batch = 6;
  return network;
}

void test_sparse_linear(const char* isa, Precision precision) {
  std::mt19937 random(3);
  for (const int side : {1, 2, 3, 5, 11})
    for (const int out : {1, 16, 33, 250, 1000, 1030, 2300}) {
      Network network = sparse_network(isa, precision, side, out);
      Spec& spec = network.spec;
      std::vector<uint8_t> pixels;
      for (const auto& input : sparse_inputs(3 * side * side, random))
        pixels.insert(pixels.end(), input.begin(), input.end());
      spec.threads = out % 3 + 1;
      const auto engine = Engine::create(spec);
      std::vector<float> logits(size_t{6} * out), alone(out);
      engine->run(pixels.data(), 6, logits.data());
      const size_t bytes = pixels.size() / 6;
      for (int picture = 0; picture < 6; ++picture) {
        const std::vector<uint8_t> one(pixels.begin() + picture * bytes,
                                       pixels.begin() + (picture + 1) * bytes);
        engine->run(one.data(), 1, alone.data());
        CHECK(std::memcmp(alone.data(), logits.data() + picture * out, out * sizeof(float)) == 0,
              "%s, %d features, %d outputs, input %d alone", isa, 3 * side * side, out, picture);
        const double error = error_of(spec, spec.layers.size(), one, 1, alone);
        CHECK(error < (precision == Precision::fp32 ? 2e-6 : 2e-2),
              "%s, %s, %d features, %d outputs, input %d: error %.2e", isa, name_of(precision),
              3 * side * side, out, picture, error);
      }
    }
}

// PyTorch multiplies infinity by zero too, and so has NaN.
void test_weights_that_are_no_numbers(const char* isa, Precision precision) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  // The last is finite in float32, and rounds to infinity in bfloat16.
  for (const float weight : {infinity, -infinity, NAN, std::numeric_limits<float>::max()}) {
    const bool is_finite = precision == Precision::fp32 && std::isfinite(weight);
    Network network = sparse_network(isa, precision, 4, 70);
    Spec& spec = network.spec;
    constexpr int output = 41, feature = 35;
    std::vector<uint8_t> tensor(spec.layers[1].weight, spec.layers[1].weight + 70 * 48 * 4);
    std::memcpy(tensor.data() + (output * 48 + feature) * 4, &weight, 4);
    spec.layers[1].weight = tensor.data();
    const std::vector<uint8_t> pixels(6 * 48);  // zeros
    const std::vector<float> logits = run(spec, pixels, 6);
    for (int picture = 0; picture < 6; ++picture)
      for (int i = 0; i < 70; ++i) {
        const float logit = logits[picture * 70 + i];
        const bool is_right = i == output && !is_finite ? std::isnan(logit)
                                                        : logit == read_float(spec.layers[1].bias, i);
        CHECK(is_right, "%s, %s, weight %g: output %d is %g", isa, name_of(precision), weight, i,
              logit);
      }
  }
}

struct Whole {
  const char* name;
  std::function<void(Network&)> build;
  int size;
};

const Whole wholes[] = {
    {"small A",
     [](Network& n) {
       n.features({8, 0, 16, 0, 16, 16, 0, 24, 24, 0, 24, 24, 0}).classifier(7, 48, 10);
     },
     64},
    {"the same, one pixel at last",
     [](Network& n) {
       n.features({8, 0, 16, 0, 16, 16, 0, 24, 24, 0, 24, 24, 0}).classifier(7, 48, 10);
     },
     32},
    {"batch norm, odd size",
     [](Network& n) { n.features({8, 0, 12, 12, 0}, true).classifier(3, 32, 5); }, 97},
    {"LRN",
     [](Network& n) {
       n.conv(20)
           .relu()
           .lrn()
           .maxpool()
           .conv(24)
           .relu()
           .lrn(4, 1e-2, 0.6, 1)
           .maxpool()
           .classifier(2, 16, 7);
     },
     30},
    {"1x1 convolutions",
     [](Network& n) {
       n.features({12, 0}).conv(20, 1).relu().maxpool().conv(9, 1).classifier(2, 16, 7);
     },
     27},
    {"a 1x1 convolution first",
     [](Network& n) { n.conv(20, 1).relu().conv(33).relu().classifier(2, 16, 7); }, 19},
    {"pooling first", [](Network& n) { n.maxpool().features({16, 0}).classifier(5, 16, 7); }, 22},
    {"wide", [](Network& n) { n.features({64, 64, 0, 128, 0, 130, 0}).classifier(7, 100, 33); },
     48},
    {"the first layer within the second, odd size",
     [](Network& n) { n.features({20, 12, 0, 24, 0}, true).classifier(3, 32, 5); }, 99},
    {"the first layer within the second, parts of a row left over",
     [](Network& n) { n.features({8, 33}).maxpool().classifier(7, 20, 10); }, 70},
    {"maps larger than a batch of them would be",
     [](Network& n) { n.features({16, 16, 0, 32, 0}).classifier(7, 20, 10); }, 100},
};

void test_whole(const char* isa, const Whole& whole, bool quick) {
  Network network(whole.size);
  whole.build(network);
  Spec& spec = network.spec;
  spec.isa = isa;
  spec.max_batch = 5;
  const std::vector<uint8_t> pixels = network.pixels(5);
  const std::vector<float> first = run(spec, pixels, 5);
  const double error = error_of(spec, spec.layers.size(), pixels, quick ? 1 : 3, first);
  CHECK(error < 5e-6, "%s, %s: error %.2e", isa, whole.name, error);

  for (const int threads : {1, 2, 3, 8}) {
    spec.threads = threads;
    const auto engine = Engine::create(spec);
    std::vector<float> logits(first.size());
    engine->run(pixels.data(), 5, logits.data());
    CHECK(std::memcmp(logits.data(), first.data(), first.size() * sizeof(float)) == 0,
          "%s, %s: %d threads", isa, whole.name, threads);
    for (int picture = 0; picture < 5; picture += threads) {
      engine->run(pixels.data() + picture * pixels.size() / 5, 1, logits.data());
      CHECK(std::memcmp(logits.data(), first.data() + picture * spec.classes,
                        spec.classes * sizeof(float)) == 0,
            "%s, %s: picture %d alone, %d threads", isa, whole.name, picture, threads);
    }
  }
}

// Budgets make parts of large maps and of wide layers: the sizes of VGG-16, the channels of a few
// layers.
void test_parts(const char* isa) {
  Network network(112);
  network.features({32, 64, 0, 256, 256, 0, 512, 0}).classifier(4, 16, 8);
  network.spec.isa = isa;
  network.spec.threads = 2;
  network.spec.max_batch = 3;
  const std::vector<uint8_t> pixels = network.pixels(3);
  const std::vector<float> logits = run(network.spec, pixels, 3);
  const double error = error_of(network.spec, network.spec.layers.size(), pixels, 1, logits);
  std::printf("%s, a network of middle size: error %.1e of the largest logit\n", isa, error);
  CHECK(error < 5e-6, "%s: error %.2e", isa, error);
}

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

void test_plan_and_times() {
  Network network(100);
  network.features({16, 16, 0, 32, 0}).classifier(7, 20, 10);
  for (const bool profile : {false, true}) {
    network.spec.profile = profile;
    const auto engine = Engine::create(network.spec);
    CHECK(engine->times() == "[]", "before the first run: %s", engine->times().c_str());
    std::vector<float> logits(network.spec.classes);
    engine->run(network.pixels(1).data(), 1, logits.data());
    const std::string plan = engine->plan(), times = engine->times();
    CHECK(count_of(plan, "\"within_next\":true") == 1, "%s", plan.c_str());
    CHECK(count_of(times, "\"ms\":") == (profile ? count_of(plan, "\"layer\":") : 0), "%s",
          times.c_str());
    CHECK(count_of(times, "\"kind\":\"linear\"") == (profile ? 3 : 0), "%s", times.c_str());
  }
}

template <class Body>
std::string message_of(const Body& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void test_refusals() {
  const auto refusal = [](const std::function<void(Network&)>& build, int size = 8) {
    Network network(size);
    build(network);
    return message_of([&] { Engine::create(network.spec); });
  };
  const auto holds = [](const std::string& message, const char* part) {
    CHECK(message.find(part) != std::string::npos, "\"%s\" says \"%s\"", message.c_str(), part);
  };
  holds(refusal([](Network&) {}), "does not end with a linear layer");
  holds(refusal([](Network& n) { n.relu().flatten().linear(2); }), "layer 0 (relu)");
  holds(refusal([](Network& n) { n.batchnorm().flatten().linear(2); }),
        "does not follow a convolution");
  holds(refusal([](Network& n) { n.features({4}).linear(2); }), "does not follow a flatten");
  holds(refusal([](Network& n) { n.features({4, 0, 0, 0, 0}).flatten(); }),
        "the picture is too small");
  holds(refusal([](Network& n) { n.features({4}).flatten().linear(2).spec.layers[0].padding = 0; }),
        "padding");
  holds(refusal([](Network& n) { n.features({4}).flatten().linear(2).spec.layers[0].in = 4; }),
        "input channels");
  holds(refusal([](Network& n) { n.features({4}).flatten().linear(2).spec.layers[0].out = -4; }),
        "output channels");
  holds(refusal([](Network& n) { n.features({4}).flatten().linear(2).spec.layers[3].in = 5; }),
        "input features");
  holds(refusal([](Network& n) { n.features({4}).flatten().linear(2).spec.classes = 3; }),
        "3 classes");
  holds(refusal([](Network& n) { n.flatten().linear(2).spec.isa = "sse9"; }), "sse9");
  holds(refusal([](Network& n) { n.flatten().linear(2).spec.threads = 0; }), "threads");
  holds(refusal([](Network& n) { n.flatten().linear(2).spec.max_batch = 0; }), "batch");
  holds(refusal([](Network& n) { n.flatten().linear(2).spec.input_size = 1 << 30; }), "size");
  holds(refusal([](Network& n) {
          n.features({4}).flatten().linear(2);
          n.spec.input_size = 65536;
          n.spec.max_batch = 65536;
          n.spec.layers[0].out = 65536;
        }),
        "bad_alloc");

  Network network(8);
  network.flatten().linear(2);
  network.spec.max_batch = 2;
  const auto engine = Engine::create(network.spec);
  std::vector<float> logits(6);
  const std::vector<uint8_t> pixels = network.pixels(3);
  for (const int n : {-1, 0, 3})
    holds(message_of([&] { engine->run(pixels.data(), n, logits.data()); }), "allowed are 1 to 2");
}

// ---- team ----

void test_team(bool quick) {
  for (const int threads : {1, 2, 3, 8}) {
    Team team(threads);
    long total = 0;
    for (int run = 0; run < (quick ? 50 : 500); ++run) {
      std::vector<int> seen(1000);  // written without atomics: each index has one owner
      long sum = 0;
      team.run([&](int thread) {
        for (int i = team.claim(); i < 1000; i = team.claim()) seen[i] += 1;
        team.barrier();
        if (thread == 0) sum = std::accumulate(seen.begin(), seen.end(), 0L);
        team.barrier();
        for (int i = team.claim(); i < 1000; i = team.claim()) seen[i] += static_cast<int>(sum);
      });
      total += std::accumulate(seen.begin(), seen.end(), 0L);
      if (run % 100 == 99)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));  // they fall asleep
    }
    CHECK(total == (quick ? 50 : 500) * 1001000L, "a team of %d counts to %ld", threads, total);
  }
}

void test_idle_team() {
  Team team(4);
  team.run([](int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const clock_t before = clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const double used = static_cast<double>(clock() - before) / CLOCKS_PER_SEC;
  CHECK(used < 0.02, "an idle team took %.3f s of CPU time in 0.1 s", used);
}

}  // namespace
}  // namespace vgg

int main(int argc, char** argv) {
  using namespace vgg;
  // Only what has several threads, with one instruction set: for ThreadSanitizer, slower still.
  const bool threads = argc > 1 && std::strcmp(argv[1], "threads") == 0;
  const bool quick = threads || (argc > 1 && std::strcmp(argv[1], "quick") == 0);
  test_team(quick);
  test_idle_team();
  test_refusals();
  test_plan_and_times();
  for (const char* isa : instruction_sets()) {
    for (const Whole& whole : wholes) test_whole(isa, whole, quick);
    if (threads) break;
    test_convolutions(isa, quick);
    test_first_layer(isa);
    test_linear(isa);
    for (const Precision precision : {Precision::fp32, Precision::bf16_classifier}) {
      test_sparse_linear(isa, precision);
      test_weights_that_are_no_numbers(isa, precision);
    }
    if (!quick) test_parts(isa);
  }
  return summary();
}
