// The whole network in bfloat16: direct convolutions by AMX or AVX512_BF16.
#pragma once

#include <memory>

#include "engine.h"

namespace vgg {

// For Spec::precision bf16. Throws what Engine::create throws.
std::unique_ptr<Engine> create_bf16_engine(const Spec& spec);

}  // namespace vgg
