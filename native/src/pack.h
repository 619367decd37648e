// Weights as the kernels read them, made once at load: those of convolutions with batch norm folded
// in and transformed, those of linear layers by columns.
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

// Of outputs: a kernel's two vectors.
constexpr int widest_panel = 32;
inline int panels_of(int outputs, int panel) { return (outputs + panel - 1) / panel; }

// [panels * panel width], zeros past the last.
Floats packed_bias(const Affine& affine, int panel);

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

struct PackedLinear {
  LinearFormat format = LinearFormat::float32;
  Floats weights;                                     // [block], see Linear
  std::vector<uint8_t> exponents;                     // float28: [block], see Linear
  std::vector<std::vector<Outlier>> outliers;         // float28: [segment of the layer]
  std::vector<std::vector<unsigned>> outlier_starts;  // float28: [segment of the layer][chunks + 1]
  std::vector<Outliers> outliers_of_segment;          // float28: of the two above
  Floats bias;                                        // [panels * panel width]
  int panels = 0;
  int panels_of_block = 0;  // the last block has what is left
  bool reads_all = false;   // some weight is no finite number
};

// A linear layer as Linear reads it: in bfloat16 if the spec asks for that, else in float28 where
// the layer is large and few of its weights are outliers. What was read is given back to
// `spec.forget` on the way.
PackedLinear pack_linear(const Spec& spec, const Layer& linear, const Kernels& kernels, Team& team,
                         Arena& arena);

}  // namespace vgg
