// The layers that cost little, on maps of [channels / 16][height][width][16], one picture and one
// part at a time.
#pragma once

#include <cstdint>

#include "engine.h"

namespace vgg {

struct MapShape {
  int channels = 0, height = 0, width = 0;

  int blocks() const { return (channels + 15) / 16; }
  long pixels() const { return static_cast<long>(height) * width; }
};

// ((x / 255 - mean) / std) of every byte and channel, in float32 as torch computes it.
struct Normalisation {
  float values[3][256];
  Normalisation(const float (&mean)[3], const float (&std)[3]);
};

// Rows first .. end of the picture as [end - first][size + 2][3]; what lies outside of the picture
// is zeros.
void normalise_rows(const Normalisation&, const uint8_t* pixels, int size, int first, int end,
                    float* rows);

// The whole picture as a map; for networks that do not begin with a 3x3 convolution.
void normalise_map(const Normalisation&, const uint8_t* pixels, int size, float* map);

// torch's LocalResponseNorm on one row of the map.
void normalise_response(const Layer& lrn, const MapShape&, int row, const float* in, float* out);

// 2x2, stride 2, on one block of channels.
void max_pool(const MapShape& in, int block, const float* from, float* to);

// torch's AdaptiveAvgPool2d on one block of channels: output i averages floor(i * in / out) ..
// ceil((i + 1) * in / out).
void average_pool(const MapShape& in, const MapShape& out, int block, const float* from, float* to);

// One block of channels in the order of torch's flatten: [channel][row][column].
void flatten(const MapShape&, int block, const float* from, float* to);

}  // namespace vgg
