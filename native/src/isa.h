// Which kernels this machine can run.
#pragma once

#include <string>

#include "bf16_kernels.h"
#include "engine.h"
#include "kernels.h"

namespace vgg {

// The named instruction set, or the best for an empty name. Throw std::runtime_error for one that
// is unknown, that has no kernels for what is wanted, or that the machine lacks.
const Kernels* choose_kernels(const std::string& isa);
const Bf16Kernels* choose_bf16_kernels(const std::string& isa);

const char* name_of(Precision precision);  // "fp32", "bf16", "bf16-classifier"

// Why this precision does not run here by the named instruction set, or by any for an empty name;
// empty where it does.
std::string why_not(Precision precision, const std::string& isa);

}  // namespace vgg
