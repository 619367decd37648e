#include "bf16_layers.h"

#include <algorithm>

namespace vgg {

Bf16Normalisation::Bf16Normalisation(const Normalisation& normalisation) {
  for (int channel = 0; channel < 3; ++channel)
    for (int byte = 0; byte < 256; ++byte)
      values[channel][byte] = to_bfloat16(normalisation.values[channel][byte]);
}

void normalise_rows(const Bf16Normalisation& normalisation, const uint8_t* pixels, int size,
                    int first, int end, bfloat16* rows) {
  const long length = (static_cast<long>(size) + 2) * 3;
  for (int y = first; y < end; ++y, rows += length) {
    std::fill(rows, rows + length, bfloat16{0});
    if (y < 0 || y >= size) continue;
    const uint8_t* from = pixels + static_cast<long>(y) * size * 3;
    bfloat16* to = rows + 3;
    for (int x = 0; x < size; ++x, from += 3, to += 3)
      for (int channel = 0; channel < 3; ++channel)
        to[channel] = normalisation.values[channel][from[channel]];
  }
}

void normalise_map(const Bf16Normalisation& normalisation, const uint8_t* pixels,
                   const Bf16Layout& layout, bfloat16* map) {
  std::fill_n(map, layout.picture_stride(), bfloat16{0});
  for (int y = 0; y < layout.shape.height; ++y)
    for (int x = 0; x < layout.shape.width; ++x, pixels += 3)
      for (int channel = 0; channel < 3; ++channel)
        map[layout.pixel(y, x) + channel] = normalisation.values[channel][pixels[channel]];
}

void average_pool(const Bf16Layout& in_layout, const Bf16Layout& out_layout, int block,
                  const bfloat16* in, bfloat16* out) {
  const MapShape& from = in_layout.shape;
  const MapShape& to = out_layout.shape;
  const auto start = [](int i, int in, int out) {
    return static_cast<int>(static_cast<long>(i) * in / out);
  };
  const auto end = [](int i, int in, int out) {
    return static_cast<int>(((i + 1L) * in + out - 1) / out);
  };
  out_layout.clear_border(out, block);
  in += block * in_layout.block_stride();
  out += block * out_layout.block_stride();
  for (int y = 0; y < to.height; ++y) {
    const int y0 = start(y, from.height, to.height), y1 = end(y, from.height, to.height);
    for (int x = 0; x < to.width; ++x) {
      const int x0 = start(x, from.width, to.width), x1 = end(x, from.width, to.width);
      float sums[bf16_block] = {};
      for (int row = y0; row < y1; ++row)
        for (int column = x0; column < x1; ++column) {
          const bfloat16* pixel = in + in_layout.pixel(row, column);
          for (int c = 0; c < bf16_block; ++c) sums[c] += from_bfloat16(pixel[c]);
        }
      const float count = static_cast<float>(static_cast<long>(y1 - y0) * (x1 - x0));
      bfloat16* pixel = out + out_layout.pixel(y, x);
      for (int c = 0; c < bf16_block; ++c) pixel[c] = to_bfloat16(sums[c] / count);
    }
  }
}

void flatten(const Bf16Layout& in_layout, const Bf16Layout& out_layout, int block,
             const bfloat16* in, bfloat16* out) {
  const MapShape& shape = in_layout.shape;
  const int first = block * bf16_block;
  const int count = std::min(bf16_block, shape.channels - first);
  in += block * in_layout.block_stride();
  for (int c = 0; c < count; ++c) {
    long feature = (first + c) * shape.pixels();
    for (int y = 0; y < shape.height; ++y)
      for (int x = 0; x < shape.width; ++x, ++feature)
        out[feature / bf16_block * out_layout.block_stride() + feature % bf16_block] =
            in[in_layout.pixel(y, x) + c];
  }
  if (block + 1 < in_layout.blocks()) return;
  for (long feature = out_layout.shape.channels; feature % bf16_block != 0; ++feature)
    out[feature / bf16_block * out_layout.block_stride() + feature % bf16_block] = 0;
}

}  // namespace vgg
