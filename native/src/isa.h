// Which kernels this machine can run.
#pragma once

#include <string>

#include "kernels.h"

namespace vgg {

// The named instruction set, or the best for an empty name. Throws std::runtime_error for one that
// is unknown or that the machine lacks.
const Kernels* choose_kernels(const std::string& isa);

}  // namespace vgg
