// The kernels that this machine can run.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <vector>

#include "../src/isa.h"

namespace vgg {

inline std::vector<const char*> instruction_sets() {
  std::vector<const char*> here;
  for (const char* isa : {"avx512", "avx2", "neon", "baseline"}) {
    try {
      choose_kernels(isa);
      here.push_back(isa);
    } catch (const std::runtime_error&) {
      std::printf("this machine has no %s: not tested\n", isa);
    }
  }
  return here;
}

}  // namespace vgg
