// From torch's layers to the steps of a run: what is fused, which tile a convolution takes, all
// sizes checked.
#pragma once

#include <string>
#include <vector>

#include "engine.h"
#include "kernels.h"
#include "layers.h"

namespace vgg {

struct Step {
  enum class Kind {
    normalise,
    first_layer,
    convolution,
    lrn,
    max_pool,
    average_pool,
    flatten,
    linear
  };
  Kind kind;
  int layer;                        // index in Spec::layers; normalise has none: -1
  MapShape in, out;                 // vectors are maps of one pixel
  bool relu = false, pool = false;  // what was fused
  int batchnorm = -1;               // index of the layer that is folded in
  int tile = 0;                     // convolution: F(tile x tile); 1 for 1x1 filters

  int taps() const { return tile == 1 ? 1 : 3; }
  int positions() const { return (tile + taps() - 1) * (tile + taps() - 1); }  // xi
  TileGrid grid() const {
    return {in.height, in.width, (in.height + tile - 1) / tile, (in.width + tile - 1) / tile};
  }
  long tiles() const { return static_cast<long>(grid().down) * grid().across; }
};

// Floats of one picture's map.
size_t map_size(const MapShape& shape);

// Throws std::runtime_error that says which layer cannot be run and why.
std::vector<Step> make_plan(const Spec& spec);

const char* kind_of(const Step& step);   // as describe() says it
std::string describe(const Step& step);  // a JSON object

}  // namespace vgg
