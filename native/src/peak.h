// What a machine's multipliers can do at most, measured: the speed of a layer is a share of it.
#pragma once

#include <string>

namespace vgg {

// Floating point operations a second, in 10^9, of `threads` threads at once that multiply and add
// float32 vectors in registers and touch no memory; by fused multiply-adds where the instruction
// set has them. Takes a fifth of a second. Throws std::runtime_error for an instruction set that is
// unknown or that the machine lacks, or for a number of threads that is not 1 to 1024.
double fma_peak(const std::string& isa, int threads);

}  // namespace vgg
