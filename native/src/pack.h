// The weights of convolutions as the kernels read them: batch norm folded in, transformed, once at
// load.
#pragma once

#include <vector>

#include "engine.h"
#include "kernels.h"
#include "memory.h"
#include "team.h"

namespace vgg {

// y = scale * conv(x) + shift of every output, in float64.
struct Affine {
  std::vector<double> scale, shift;
};

// The bias of a convolution or a linear layer and, if not null, the batch norm behind it.
Affine affine_of(const Layer& layer, const Layer* batchnorm);

struct PackedConvolution {
  Floats filters;  // [xi][panel][in][panel width]; for the first layer [panel][tap][panel width]
  Floats bias;     // [panels * panel width]
};

// F(tile x tile) of a convolution and, if not null, of the batch norm behind it. tile 1 is for
// kernel 1.
PackedConvolution pack_winograd(const Layer& conv, const Layer* batchnorm, int tile,
                                const Kernels& kernels, Team& team, Arena& arena);

// 3x3 over 3 channels, as the direct convolution reads it.
PackedConvolution pack_first_layer(const Layer& conv, const Layer* batchnorm,
                                   const Kernels& kernels);

}  // namespace vgg
