// Milliseconds a picture of VGG-16 with random weights: bench [threads] [isa] [rounds] [batch ...]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "networks.h"

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  const auto ms_since = [](Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  };
  vgg::Network network(224);
  network.features({64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0})
      .classifier(7, 4096, 1000);
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
  for (const int n : batches) {
    const std::vector<uint8_t> pixels = network.pixels(n);
    std::vector<float> logits(static_cast<size_t>(n) * network.spec.classes);
    std::vector<double> times;
    for (int round = 0; round < rounds + 2; ++round) {
      const Clock::time_point begin = Clock::now();
      engine->run(pixels.data(), n, logits.data());
      if (round >= 2) times.push_back(ms_since(begin) / n);
    }
    std::sort(times.begin(), times.end());
    std::printf("b=%d: n=%d, min %.2f, median %.2f ms a picture\n", n, rounds, times.front(),
                times[times.size() / 2]);
  }
}
