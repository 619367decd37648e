#include "isa.h"

#include <stdexcept>

namespace vgg {
namespace {

struct Choice {
  const Kernels* kernels;
  bool (*is_here)();
};

// Best first. GCC's test asks the operating system too, whether it saves the registers.
const Choice choices[] = {
#if defined(__x86_64__)
    {&avx512_kernels,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("fma");
     }},
    {&avx2_kernels, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
#if defined(__aarch64__)
    {&neon_kernels, [] { return true; }},
#else
    {&baseline_kernels, [] { return true; }},
#endif
};

}  // namespace

const Kernels* choose_kernels(const std::string& isa) {
  std::string here;
  for (const Choice& choice : choices) {
    if (!choice.is_here()) continue;
    if (isa.empty() || isa == choice.kernels->isa) return choice.kernels;
    here += (here.empty() ? "" : ", ") + std::string(choice.kernels->isa);
  }
  throw std::runtime_error("the instruction set \"" + isa +
                           "\" is not to be had here; there are: " + here);
}

}  // namespace vgg
