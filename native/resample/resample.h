// Resize and centre crop, byte for byte as src/preprocessing/resample.ts, which says what it
// repeats. That file stays the definition: it runs where this one is not built.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace vgg {

// One axis of the way from the source to the crop, in pixels: `Axis` in src/preprocessing/geometry.ts.
struct Axis {
  int32_t source;
  int32_t resized;
  int32_t start, count;  // What the crop shows of the resized picture,
  int32_t offset;        // and where in the crop it begins.
};

// Writes the pixels that the crop shows, and leaves those around them as they are.
//   pixels  [y.source, x.source, 3]
//   result  [crop, crop, 3]
// Throws std::invalid_argument for axes that do not go together with the crop, std::bad_alloc.
void resample(const ResampleKernels& kernels, const uint8_t* pixels, const Axis& x, const Axis& y,
              int32_t crop, uint8_t* result);

}  // namespace vgg
