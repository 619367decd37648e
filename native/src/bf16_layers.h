// The layers of the bfloat16 engine that cost little. `in` and `out` are where one picture begins.
#pragma once

#include "bf16.h"

namespace vgg {

// Rounded after normalising in float32.
struct Bf16Normalisation {
  bfloat16 values[3][256];
  explicit Bf16Normalisation(const Normalisation&);
};

// As normalise_rows and normalise_map of layers.h.
void normalise_rows(const Bf16Normalisation&, const uint8_t* pixels, int size, int first, int end,
                    bfloat16* rows);
void normalise_map(const Bf16Normalisation&, const uint8_t* pixels, const Bf16Layout&,
                   bfloat16* map);

// torch's AdaptiveAvgPool2d on one block of channels: sums and quotient in float32.
void average_pool(const Bf16Layout& in_layout, const Bf16Layout& out_layout, int block,
                  const bfloat16* in, bfloat16* out);

// One block of channels into a vector, in the order of torch's flatten.
void flatten(const Bf16Layout& in_layout, const Bf16Layout& out_layout, int block,
             const bfloat16* in, bfloat16* out);

}  // namespace vgg
