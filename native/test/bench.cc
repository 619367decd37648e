// Milliseconds a picture of VGG-16 with random weights, of the whole and of each layer:
//     bench [threads] [isa] [rounds] [batch ...] [precision=bf16] [tiles=2,4,...]
// `tiles` forces the tile of each convolution behind the first one, which is direct: 2, 4 or 6; 0
// leaves it to the table. So the table of plan.cc was found.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../src/isa.h"
#include "networks.h"

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void force_tiles(vgg::Spec& spec, const char* tiles) {
  bool is_first = true;
  for (vgg::Layer& layer : spec.layers) {
    if (layer.kind != vgg::Layer::Kind::conv) continue;
    if (!is_first && *tiles != 0) {
      layer.tile = std::atoi(tiles);
      tiles += std::strcspn(tiles, ",");
      tiles += *tiles == ',';
    }
    is_first = false;
  }
}

vgg::Precision precision_named(const char* name) {
  for (const vgg::Precision precision :
       {vgg::Precision::bf16, vgg::Precision::bf16_classifier, vgg::Precision::fp32})
    if (std::strcmp(name, vgg::name_of(precision)) == 0) return precision;
  std::fprintf(stderr, "there is no precision %s\n", name);
  std::exit(2);
}

// Every "ms" of Engine::times().
std::vector<double> layer_times(const std::string& json) {
  std::vector<double> times;
  for (size_t at = json.find("\"ms\":"); at != std::string::npos; at = json.find("\"ms\":", at + 1))
    times.push_back(std::atof(json.c_str() + at + 5));
  return times;
}

// "{...}" of every layer of Engine::plan().
std::vector<std::string> layer_plans(const std::string& json) {
  std::vector<std::string> plans;
  for (size_t at = json.find('{', 1); at != std::string::npos; at = json.find('{', at + 1))
    plans.push_back(json.substr(at, json.find('}', at) + 1 - at));
  return plans;
}

}  // namespace

int main(int argc, char** argv) {
  vgg::Network network(224);
  network.features({64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0})
      .classifier(7, 4096, 1000);
  network.spec.profile = true;
  if (argc > 1 && std::strncmp(argv[argc - 1], "tiles=", 6) == 0)
    force_tiles(network.spec, argv[--argc] + 6);
  if (argc > 1 && std::strncmp(argv[argc - 1], "precision=", 10) == 0)
    network.spec.precision = precision_named(argv[--argc] + 10);
  network.spec.threads = argc > 1 ? std::atoi(argv[1]) : 2;
  network.spec.isa = argc > 2 ? argv[2] : "";
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 15;
  std::vector<int> batches;
  for (int i = 4; i < argc; ++i) batches.push_back(std::atoi(argv[i]));
  if (batches.empty()) batches = {1, 8};
  network.spec.max_batch = *std::max_element(batches.begin(), batches.end());

  const Clock::time_point start = Clock::now();
  const auto engine = vgg::Engine::create(network.spec);
  std::printf("%s, %d threads, created in %.0f ms\n", engine->isa(), network.spec.threads,
              ms_since(start));
  const std::vector<std::string> plans = layer_plans(engine->plan());
  std::vector<std::vector<double>> of_batches;  // each layer in its fastest round
  for (const int n : batches) {
    const std::vector<uint8_t> pixels = network.pixels(n);
    std::vector<float> logits(static_cast<size_t>(n) * network.spec.classes);
    std::vector<double> times;
    std::vector<double> of_layers;
    for (int round = 0; round < rounds + 2; ++round) {
      const Clock::time_point begin = Clock::now();
      engine->run(pixels.data(), n, logits.data());
      if (round < 2) continue;
      const double ms = ms_since(begin) / n;
      const std::vector<double> layers = layer_times(engine->times());
      if (of_layers.empty()) of_layers = layers;
      for (size_t i = 0; i < layers.size(); ++i)
        of_layers[i] = std::min(of_layers[i], layers[i]);
      times.push_back(ms);
    }
    std::printf("b=%d: n=%d, min %.2f, median %.2f ms a picture\n", n, rounds,
                *std::min_element(times.begin(), times.end()), median(times));
    for (double& layer : of_layers) layer /= n;
    of_batches.push_back(of_layers);
  }
  std::printf("\nms a picture of each layer in its fastest round, b =");
  for (const int n : batches) std::printf(" %d", n);
  std::printf("\n");
  for (size_t i = 0; i < plans.size(); ++i) {
    for (const std::vector<double>& of_layers : of_batches) std::printf("%7.3f", of_layers[i]);
    std::printf("  %s\n", plans[i].c_str());
  }
}
