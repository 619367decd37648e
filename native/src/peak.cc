#include "peak.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <vector>

#include "isa.h"
#include "team.h"

namespace vgg {
namespace {

// Sums that do not wait for each other: two multipliers with a latency of four or five cycles want
// ten, and 16 registers hold them beside the factor and the term.
constexpr int chains = 12;

// A function of `rounds` steps of each chain on vectors of `lanes` floats. Not a template: GCC
// takes vectors apart that are wider than those of the function in which they first stand.
#define VGG_MULTIPLY_ADDS(name, lanes, target)                                                     \
  target float name(long rounds, float start) {                                                    \
    typedef float Vector __attribute__((vector_size(4 * lanes)));                                  \
    const Vector factor = Vector{} + 0.99f, term = Vector{} + 0.01f;                               \
    Vector a = Vector{} + start, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5;            \
    Vector g = a + 6, h = a + 7, i = a + 8, j = a + 9, k = a + 10, l = a + 11;                     \
    for (; rounds > 0; --rounds) {                                                                 \
      a = a * factor + term, b = b * factor + term, c = c * factor + term;                         \
      d = d * factor + term, e = e * factor + term, f = f * factor + term;                         \
      g = g * factor + term, h = h * factor + term, i = i * factor + term;                         \
      j = j * factor + term, k = k * factor + term, l = l * factor + term;                         \
    }                                                                                              \
    return (((a + b) + (c + d)) + ((e + f) + (g + h)) + ((i + j) + (k + l)))[0];                   \
  }

VGG_MULTIPLY_ADDS(multiply_adds, 4, )
#if defined(__x86_64__)
VGG_MULTIPLY_ADDS(multiply_adds_avx2, 8, __attribute__((target("avx2,fma"))))
VGG_MULTIPLY_ADDS(multiply_adds_avx512, 16, __attribute__((target("avx512f,fma"))))
#endif

}  // namespace

double fma_peak(const std::string& isa, int threads) {
  using Clock = std::chrono::steady_clock;
  if (threads < 1 || threads > 1024) {
    throw std::runtime_error("the number of threads is " + std::to_string(threads) +
                             "; allowed are 1 to 1024");
  }
  const Kernels& kernels = *choose_kernels(isa);
  float (*run)(long, float) = multiply_adds;
#if defined(__x86_64__)
  if (&kernels == &avx2_kernels) run = multiply_adds_avx2;
  if (&kernels == &avx512_kernels) run = multiply_adds_avx512;
#endif

  // Of each thread the least of many short times: one that loses its core for a while spoils few.
  constexpr long rounds = 1 << 19;
  constexpr int tries = 64;
  Team team(threads);
  std::vector<double> seconds(threads, 1e9);
  std::vector<float> results(threads);  // What nobody reads would not be computed.
  team.run([&](int thread) {
    for (int i = 0; i < tries; ++i) {
      const Clock::time_point start = Clock::now();
      results[thread] = run(rounds, results[thread]);
      const std::chrono::duration<double> passed = Clock::now() - start;
      seconds[thread] = std::min(seconds[thread], passed.count());
    }
  });
  double peak = 0;
  for (int thread = 0; thread < threads; ++thread) {
    if (!(results[thread] > 0)) throw std::runtime_error("the multiply-adds have gone wrong");
    peak += 2e-9 * rounds * chains * kernels.vector / seconds[thread];
  }
  return peak;
}

}  // namespace vgg
