// Tests of bfloat16 against loops that round where the engine rounds, and against float64:
// bf16_test [quick]. `quick` is for the slow sanitizers.
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>

#include "../src/isa.h"
#include "bf16_reference.h"
#include "check.h"
#include "networks.h"

namespace vgg {
namespace {

void test_rounding() {
  const auto as_float = [](uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  };
  int wrong = 0;
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = as_float(half << 16);
    const bool is_nan = std::isnan(value);
    const bfloat16 there = to_bfloat16(from_bfloat16(static_cast<bfloat16>(half)));
    wrong += is_nan ? !std::isnan(from_bfloat16(there)) : there != half;
    if (is_nan || std::isinf(value)) continue;
    // Just under the tie between this number and the next one, just over it, and the tie itself.
    wrong += to_bfloat16(as_float(half << 16 | 0x7fff)) != half;
    wrong += to_bfloat16(as_float(half << 16 | 0x8001)) != half + 1;
    wrong += to_bfloat16(as_float(half << 16 | 0x8000)) != half + half % 2;
  }
  CHECK(wrong == 0, "%d roundings", wrong);
  CHECK(std::isnan(from_bfloat16(to_bfloat16(as_float(0x7f800001)))), "a NaN of low bits only");
}

std::vector<float> run(const Spec& spec, const std::vector<uint8_t>& pixels, int n) {
  std::vector<float> logits(static_cast<size_t>(n) * spec.classes);
  Engine::create(spec)->run(pixels.data(), n, logits.data());
  return logits;
}

std::vector<const char*> bf16_sets() {
  std::vector<const char*> here;
  for (const char* isa : {"amx", "avx512bf16"}) {
    const std::string why = why_not(Precision::bf16, isa);
    if (why.empty())
      here.push_back(isa);
    else
      std::printf("not tested: %s\n", why.c_str());
  }
  return here;
}

std::vector<const char*> fp32_sets() {
  std::vector<const char*> here;
  for (const char* isa : {"avx512", "avx2", "baseline"})
    if (why_not(Precision::bf16_classifier, isa).empty()) here.push_back(isa);
  return here;
}

using Reference = ReferenceMap (*)(const Spec&, const uint8_t*, size_t);

// The largest difference to the reference, as a part of its largest number.
double error_of(const Spec& spec, Reference reference, const std::vector<uint8_t>& pixels, int n,
                const std::vector<float>& logits) {
  double difference = 0, largest = 0;
  const size_t bytes = size_t{3} * spec.input_size * spec.input_size;
  for (int picture = 0; picture < n; ++picture) {
    const ReferenceMap right = reference(spec, pixels.data() + picture * bytes, spec.layers.size());
    for (int i = 0; i < spec.classes; ++i) {
      const double error =
          std::abs(logits[static_cast<size_t>(picture) * spec.classes + i] - right.values[i]);
      if (!(error <= difference)) difference = std::isnan(error) ? INFINITY : error;
      largest = std::max(largest, std::abs(right.values[i]));
    }
  }
  return difference / largest;
}

// How many logits are not the reference's number rounded, where that number may be off by 1e-5 of
// the largest: sums in float32 come to either side of a number in the middle.
int wrong_ones(const Spec& spec, size_t layers, const std::vector<uint8_t>& pixels, int n,
               const std::vector<float>& logits) {
  int wrong = 0;
  const size_t bytes = size_t{3} * spec.input_size * spec.input_size;
  for (int picture = 0; picture < n; ++picture) {
    const ReferenceMap right = bf16_reference_run(spec, pixels.data() + picture * bytes, layers);
    double largest = 0;
    for (const double value : right.values) largest = std::max(largest, std::abs(value));
    for (int i = 0; i < spec.classes; ++i) {
      const float seen = logits[static_cast<size_t>(picture) * spec.classes + i];
      const double slack = 1e-5 * largest;
      wrong +=
          !(seen >= rounded(right.values[i] - slack) && seen <= rounded(right.values[i] + slack));
    }
  }
  return wrong;
}

// The last layer's map as logits: an identity behind it.
void check_map(const char* isa, Network& network, int n, int threads, const char* what) {
  Spec& spec = network.spec;
  const size_t layers = spec.layers.size();
  network.identity();
  spec.isa = isa;
  spec.precision = Precision::bf16;
  spec.max_batch = n;
  spec.threads = threads;
  const std::vector<uint8_t> pixels = network.pixels(n);
  const int wrong = wrong_ones(spec, layers, pixels, n, run(spec, pixels, n));
  CHECK(wrong == 0, "%s, %s, batch %d, %d threads: %d wrong", isa, what, n, threads, wrong);
}

void test_convolutions(const char* isa, bool quick) {
  std::mt19937 random(11);
  const auto between = [&](int low, int high) {
    return low + static_cast<int>(random() % (high - low + 1));
  };
  for (int round = 0; round < (quick ? 12 : 160); ++round) {
    // A map of more than 10 x 10 has few channels, or the identity behind it would be large.
    const int size = round < 40 ? round + 1 : between(1, 40);
    const int most = std::min(130, 3600 / (size * size) + 1);
    const bool pool = size > 1 && round % 2 == 1;
    const int in = between(1, 130), out = between(1, pool ? std::min(130, most * 4) : most);
    const int kernel = round % 5 == 4 ? 1 : 3;
    Network network(size, static_cast<unsigned>(round));
    network.scatter(in).conv(out, kernel);
    if (round % 3 != 0) network.batchnorm();
    if (round % 7 != 0) network.relu();
    if (pool) network.maxpool();
    const std::string what = std::to_string(in) + " to " + std::to_string(out) + " channels, " +
                             std::to_string(size) + " pixels, kernel " + std::to_string(kernel) +
                             (pool ? ", pooled" : "");
    check_map(isa, network, between(1, 5), between(1, 3), what.c_str());
  }
  for (const int channels : {31, 32, 33, 64, 65, 130}) {
    Network network(5);
    network.scatter(channels).conv(130).relu();
    check_map(isa, network, 2, 2, "many channels");
  }
}

void test_first_layer(const char* isa) {
  for (const int size : {1, 2, 3, 15, 16, 17, 31, 40})
    for (const int out : {1, 3, 32, 33, 40})
      for (const bool pool : {false, true}) {
        if (pool && size == 1) continue;
        if (out * size * size > (pool ? 8000 : 3000)) continue;
        Network network(size);
        network.conv(out).relu();
        if (pool) network.maxpool();
        check_map(isa, network, 3, 2, "first layer");
      }
}

void test_others(const char* isa) {
  for (const int size : {1, 2, 5, 14, 17}) {
    Network response(size);
    response.scatter(37).lrn();
    check_map(isa, response, 3, 2, "LRN");
    Network other(size);
    other.scatter(9).lrn(4, 1e-2, 0.6, 1);
    check_map(isa, other, 2, 1, "LRN of another exponent");
    Network average(size);
    average.scatter(34).avgpool(3, 4);
    check_map(isa, average, 2, 2, "average pooling");
    Network same(size);
    same.scatter(34).avgpool(size, size);
    check_map(isa, same, 2, 2, "average pooling of single pixels");
    if (size < 2) continue;
    Network pooled(size);
    pooled.scatter(40).lrn().maxpool();
    check_map(isa, pooled, 2, 2, "pooling behind LRN");
    Network first(size);
    first.maxpool().conv(5).relu();
    check_map(isa, first, 2, 2, "pooling first");
  }
  Network pixel(9);
  pixel.scatter(40).avgpool(1, 1).linear(7).relu();
  check_map(isa, pixel, 3, 2, "a map of one pixel into a linear layer");
}

void test_linear(const char* isa, Precision precision) {
  for (const int size : {1, 2, 5, 9})
    for (const int out : {1, 2, 15, 16, 17, 33, 67})
      for (const int n : {1, 2, 3, 4, 5, 7, 13, 16, 17, 33, 50}) {
        Network network(size, static_cast<unsigned>(out));
        network.flatten().linear(out);
        Spec& spec = network.spec;
        spec.isa = isa;
        spec.precision = precision;
        spec.max_batch = n;
        spec.threads = 2;
        const std::vector<uint8_t> pixels = network.pixels(n);
        const std::vector<float> logits = run(spec, pixels, n);
        double error;
        if (precision == Precision::bf16) {
          error = error_of(spec, bf16_reference_run, pixels, n, logits);
        } else {
          error = error_of(
              spec,
              [](const Spec& whole, const uint8_t* picture, size_t end) {
                return bf16_reference_weighted(whole.layers[end - 1], nullptr,
                                               reference_run(whole, picture, end - 1));
              },
              pixels, n, logits);
        }
        CHECK(error < 2e-6, "%s, %s, linear, %d features, %d outputs, batch %d: error %.2e", isa,
              name_of(precision), 3 * size * size, out, n, error);
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
    {"batch norm, odd size",
     [](Network& n) { n.features({8, 0, 12, 12, 0}, true).classifier(3, 32, 5); }, 97},
    {"LRN",
     [](Network& n) {
       n.conv(20).relu().lrn().maxpool().conv(24).relu().lrn().maxpool().classifier(2, 16, 7);
     },
     30},
    {"1x1 convolutions",
     [](Network& n) {
       n.features({12, 0}).conv(20, 1).relu().maxpool().conv(9, 1).classifier(2, 16, 7);
     },
     27},
    {"a 1x1 convolution first",
     [](Network& n) { n.conv(20, 1).relu().conv(33).relu().classifier(2, 16, 7); }, 19},
    {"wide", [](Network& n) { n.features({64, 64, 0, 128, 0, 260, 0}).classifier(6, 100, 33); },
     48},
    {"maps larger than a batch of them would be",
     [](Network& n) { n.features({16, 16, 0, 32, 0}).classifier(7, 20, 10); }, 100},
};

void test_whole(const char* isa, Precision precision, const Whole& whole, bool quick) {
  Network network(whole.size);
  whole.build(network);
  Spec& spec = network.spec;
  spec.isa = isa;
  spec.precision = precision;
  spec.max_batch = 5;
  const std::vector<uint8_t> pixels = network.pixels(5);
  const std::vector<float> first = run(spec, pixels, 5);
  const int pictures = quick ? 1 : 3;
  const double error = error_of(spec, reference_run, pixels, pictures, first);
  // Winograd's transforms enlarge what rounding takes away; noise, as here, is the worst of
  // pictures.
  const double limit = precision == Precision::bf16_classifier ? 1e-2
                       : std::strcmp(isa, "avx512bf16") == 0   ? 4e-2
                                                               : 1.5e-2;
  CHECK(error < limit, "%s, %s, %s: error %.2e", isa, name_of(precision), whole.name, error);
  if (precision == Precision::bf16) {
    // A number that falls to the other side of a tie differs by a whole step, and so do the next
    // layers' sums.
    const double step = error_of(spec, bf16_reference_run, pixels, pictures, first);
    CHECK(step < 6e-3, "%s, %s: %.2e from the same roundings", isa, whole.name, step);
  }

  for (const int threads : {1, 2, 3, 8}) {
    spec.threads = threads;
    const auto engine = Engine::create(spec);
    CHECK(engine->plan().find(std::string("\"precision\":\"") + name_of(precision) + "\"") !=
              std::string::npos,
          "%s", engine->plan().c_str());
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

// Bands of large maps, and panels of wide layers through the whole batch.
void test_parts(const char* isa) {
  Network network(112);
  network.features({32, 64, 0, 256, 256, 0, 512, 0}).classifier(4, 16, 8);
  Spec& spec = network.spec;
  spec.isa = isa;
  spec.precision = Precision::bf16;
  spec.threads = 2;
  spec.max_batch = 3;
  const std::vector<uint8_t> pixels = network.pixels(3);
  const std::vector<float> logits = run(spec, pixels, 3);
  const double error = error_of(spec, reference_run, pixels, 1, logits);
  std::printf("%s, bf16, a network of middle size: error %.1e of the largest logit\n", isa, error);
  CHECK(error < 2.5e-2, "%s: error %.2e", isa, error);
  std::vector<float> alone(spec.classes);
  spec.threads = 1;
  Engine::create(spec)->run(pixels.data() + 2 * pixels.size() / 3, 1, alone.data());
  CHECK(std::memcmp(alone.data(), logits.data() + 2 * spec.classes, alone.size() * 4) == 0,
        "%s: the third picture alone", isa);
}

// What is told to be forgotten is the weights that were copied, each once.
void test_forgetting(const char* isa, Precision precision) {
  Network network(8);
  network.features({4, 0}).flatten().linear(37).relu().linear(5);
  Spec& spec = network.spec;
  spec.isa = isa;
  spec.precision = precision;
  std::mutex mutex;
  std::vector<std::pair<const uint8_t*, size_t>> forgotten;
  spec.forget = [&](const uint8_t* from, size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex);
    forgotten.push_back({from, bytes});
  };
  const auto engine = Engine::create(spec);
  const auto of_layer = [&](size_t index, size_t bytes) {
    const uint8_t* weight = spec.layers[index].weight;
    size_t sum = 0;
    for (const auto& [from, count] : forgotten)
      if (from >= weight && from + count <= weight + bytes) sum += count;
    CHECK(sum == bytes, "%s, %s: %zu bytes of layer %zu", isa, name_of(precision), sum, index);
    return sum;
  };
  size_t known = of_layer(0, 4 * 4 * 27) + of_layer(4, 4 * 64 * 37) + of_layer(6, 4 * 37 * 5);
  for (const auto& piece : forgotten) known -= piece.second;
  CHECK(known == 0, "%s, %s: others are forgotten too", isa, name_of(precision));
}

std::string refusal(
    Precision precision, const char* isa,
    const std::function<void(Network&)>& build = [](Network& n) { n.flatten().linear(2); }) {
  Network network(8);
  build(network);
  network.spec.precision = precision;
  network.spec.isa = isa;
  try {
    Engine::create(network.spec);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void test_refusals() {
  const auto holds = [](const std::string& message, const char* part) {
    CHECK(message.find(part) != std::string::npos, "\"%s\" says \"%s\"", message.c_str(), part);
  };
  for (const char* isa : {"avx512", "baseline", "sse9"}) {
    holds(refusal(Precision::bf16, isa), "precision bf16");
    holds(refusal(Precision::bf16, isa), isa);
    holds(refusal(Precision::bf16, isa), "take fp32 or bf16-classifier");
  }
  for (const Precision precision : {Precision::fp32, Precision::bf16_classifier})
    for (const char* isa : {"amx", "avx512bf16"}) {
      holds(refusal(precision, isa), "for the precision bf16 only");
      CHECK(why_not(precision, isa) == refusal(precision, isa), "%s", isa);
    }
  if (!why_not(Precision::bf16, "").empty()) return;
  holds(
      refusal(Precision::bf16, "", [](Network& n) { n.flatten().conv(4, 1).flatten().linear(2); }),
      "follows a flatten");
  holds(refusal(Precision::bf16, "",
                [](Network& n) {
                  n.features({4}).flatten().linear(2);
                  n.spec.input_size = 65536;
                  n.spec.max_batch = 65536;
                  n.spec.layers[0].out = 65536;
                }),
        "bad_alloc");
}

}  // namespace
}  // namespace vgg

int main(int argc, char** argv) {
  using namespace vgg;
  const bool quick = argc > 1 && std::strcmp(argv[1], "quick") == 0;
  test_rounding();
  test_refusals();
  for (const char* isa : bf16_sets()) {
    test_convolutions(isa, quick);
    test_first_layer(isa);
    test_others(isa);
    test_linear(isa, Precision::bf16);
    for (const Whole& whole : wholes) test_whole(isa, Precision::bf16, whole, quick);
    if (!quick) test_parts(isa);
    test_forgetting(isa, Precision::bf16);
  }
  for (const char* isa : fp32_sets()) {
    test_linear(isa, Precision::bf16_classifier);
    for (const Whole& whole : wholes) test_whole(isa, Precision::bf16_classifier, whole, quick);
    for (const Precision precision : {Precision::fp32, Precision::bf16_classifier})
      test_forgetting(isa, precision);
  }
  return summary();
}
