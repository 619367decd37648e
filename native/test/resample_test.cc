// Every instruction set against the plainest, over many sizes, in buffers that end where the pixels
// do, so that AddressSanitizer sees a byte too many. That the bytes are right is tested from
// JavaScript, against torchvision's.
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "../resample/resample.h"

namespace {

std::vector<const vgg::ResampleKernels*> kernels_here() {
  std::vector<const vgg::ResampleKernels*> kernels;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) kernels.push_back(&vgg::avx2_resample_kernels);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    kernels.push_back(&vgg::avx512_resample_kernels);
#endif
  kernels.push_back(&vgg::plain_resample_kernels);
  return kernels;
}

vgg::Axis random_axis(std::mt19937& random, int largest, int crop) {
  const auto up_to = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  const int source = 1 + up_to(largest - 1), resized = 1 + up_to(largest - 1);
  const int count = 1 + up_to(std::min(resized, crop) - 1);
  return {source, resized, up_to(resized - count), count, up_to(crop - count)};
}

}  // namespace

int main() {
  std::mt19937 random(1);
  int failed = 0;
  for (int round = 0; round < 3000; ++round) {
    const int crop = 1 + static_cast<int>(random() % 40), largest = round % 10 == 0 ? 500 : 50;
    const vgg::Axis x = random_axis(random, largest, crop), y = random_axis(random, largest, crop);
    const size_t bytes = size_t{3} * x.source * y.source, result_bytes = size_t{3} * crop * crop;
    const std::unique_ptr<uint8_t[]> pixels(new uint8_t[bytes]);
    for (size_t i = 0; i < bytes; ++i) pixels[i] = static_cast<uint8_t>(random());
    std::vector<uint8_t> expected(result_bytes);
    vgg::resample(vgg::plain_resample_kernels, pixels.get(), x, y, crop, expected.data());
    for (const vgg::ResampleKernels* kernels : kernels_here()) {
      const std::unique_ptr<uint8_t[]> result(new uint8_t[result_bytes]());
      vgg::resample(*kernels, pixels.get(), x, y, crop, result.get());
      if (std::memcmp(result.get(), expected.data(), result_bytes) == 0) continue;
      ++failed;
      std::printf("%s differs: %d x %d to %d x %d\n", kernels->isa, x.source, y.source, x.resized,
                  y.resized);
    }
  }
  for (const vgg::Axis& wrong : {vgg::Axis{0, 1, 0, 1, 0}, {1, 0, 0, 1, 0}, {9, 9, -1, 1, 0},
                                 {9, 9, 9, 1, 0}, {9, 9, 0, 0, 0}, {9, 9, 0, 5, 0}, {9, 9, 0, 4, 1}}) {
    try {
      uint8_t result[48];
      vgg::resample(vgg::plain_resample_kernels, nullptr, wrong, {9, 9, 0, 4, 0}, 4, result);
      ++failed;
      std::printf("a wrong axis is not refused\n");
    } catch (const std::invalid_argument&) {
    }
  }
  std::printf("resample: %d failed\n", failed);
  return failed == 0 ? 0 : 1;
}
