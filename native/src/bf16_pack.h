// Weights in bfloat16, rounded once at load; batch norm is folded in first, in float64.
#pragma once

#include "bf16.h"
#include "engine.h"
#include "pack.h"
#include "team.h"

namespace vgg {

struct Bf16Packed {
  Bfloat16s filters;  // as bf16_kernels.h lays them out
  Floats bias;        // float32
  long panel_stride = 0;
};

// A convolution of 3x3 or 1x1. As patches: 3x3 over 3 channels as a 1x1 convolution over the 27
// numbers of a patch.
Bf16Packed pack_bf16_convolution(const Layer& conv, const Layer* batchnorm, bool as_patches,
                                 Team& team);

// 3x3 for Winograd's F(4x4): G g G^T in float64, rounded.
Bf16Packed pack_bf16_winograd(const Layer& conv, const Layer* batchnorm, Team& team);

// A linear layer as a 1x1 convolution. What was read is given back to `spec.forget` on the way.
Bf16Packed pack_bf16_linear(const Spec& spec, const Layer& linear, Team& team);

}  // namespace vgg
