#include "layers.h"

#include <algorithm>
#include <cmath>

#include "kernels.h"

namespace vgg {

Normalisation::Normalisation(const float (&mean)[3], const float (&std)[3]) {
  for (int channel = 0; channel < 3; ++channel)
    for (int byte = 0; byte < 256; ++byte) {
      const float scaled = static_cast<float>(byte) / 255.0f;
      values[channel][byte] = (scaled - mean[channel]) / std[channel];
    }
}

void normalise_rows(const Normalisation& normalisation, const uint8_t* pixels, int size, int first,
                    int end, float* rows) {
  const long length = (static_cast<long>(size) + 2) * 3;
  for (int y = first; y < end; ++y, rows += length) {
    if (y < 0 || y >= size) {
      std::fill(rows, rows + length, 0.0f);
      continue;
    }
    const uint8_t* from = pixels + static_cast<long>(y) * size * 3;
    float* to = rows + 3;
    std::fill(rows, to, 0.0f);
    for (int x = 0; x < size; ++x, from += 3, to += 3)
      for (int channel = 0; channel < 3; ++channel)
        to[channel] = normalisation.values[channel][from[channel]];
    std::fill(to, rows + length, 0.0f);
  }
}

void normalise_map(const Normalisation& normalisation, const uint8_t* pixels, int size,
                   float* map) {
  const long count = static_cast<long>(size) * size;
  for (long i = 0; i < count; ++i, pixels += 3, map += channel_block)
    for (int channel = 0; channel < 3; ++channel)
      map[channel] = normalisation.values[channel][pixels[channel]];
}

void normalise_response(const Layer& lrn, const MapShape& shape, int row, const float* in,
                        float* out) {
  const long plane = shape.pixels() * channel_block;
  const int before = lrn.lrn_size / 2, after = (lrn.lrn_size - 1) / 2;
  const float k = static_cast<float>(lrn.lrn_k);
  const float factor = static_cast<float>(lrn.lrn_alpha / lrn.lrn_size);
  const float exponent = static_cast<float>(lrn.lrn_beta);
  const long row_start = static_cast<long>(row) * shape.width * channel_block;
  const auto place = [&](int channel) {
    return channel / channel_block * plane + channel % channel_block;
  };
  for (int x = 0; x < shape.width; ++x) {
    const float* from = in + row_start + static_cast<long>(x) * channel_block;
    float* to = out + row_start + static_cast<long>(x) * channel_block;
    for (int channel = 0; channel < shape.channels; ++channel) {
      float sum = 0;
      for (int c = std::max(0, channel - before);
           c <= std::min(shape.channels - 1, channel + after); ++c) {
        const float value = from[place(c)];
        sum += value * value;
      }
      const float base = k + factor * sum;
      // The usual 3/4 needs no pow.
      const float power = exponent == 0.75f ? std::sqrt(base) * std::sqrt(std::sqrt(base))
                                            : std::pow(base, exponent);
      to[place(channel)] = from[place(channel)] / power;
    }
  }
}

void max_pool(const MapShape& in, int block, const float* from, float* to) {
  const int height = in.height / 2, width = in.width / 2;
  const long line = static_cast<long>(in.width) * channel_block;
  from += block * in.pixels() * channel_block;
  to += block * static_cast<long>(height) * width * channel_block;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x, to += channel_block) {
      const float* window = from + 2 * y * line + 2L * x * channel_block;
      for (int c = 0; c < channel_block; ++c)
        to[c] = std::max(std::max(window[c], window[c + channel_block]),
                         std::max(window[c + line], window[c + line + channel_block]));
    }
}

void average_pool(const MapShape& in, const MapShape& out, int block, const float* from,
                  float* to) {
  const auto start = [](int i, int in, int out) {
    return static_cast<int>(static_cast<long>(i) * in / out);
  };
  const auto end = [](int i, int in, int out) {
    return static_cast<int>(((i + 1L) * in + out - 1) / out);
  };
  from += block * in.pixels() * channel_block;
  to += block * out.pixels() * channel_block;
  for (int y = 0; y < out.height; ++y) {
    const int y0 = start(y, in.height, out.height), y1 = end(y, in.height, out.height);
    for (int x = 0; x < out.width; ++x, to += channel_block) {
      const int x0 = start(x, in.width, out.width), x1 = end(x, in.width, out.width);
      float sums[channel_block] = {};
      for (int row = y0; row < y1; ++row)
        for (int column = x0; column < x1; ++column) {
          const float* pixel = from + (static_cast<long>(row) * in.width + column) * channel_block;
          for (int c = 0; c < channel_block; ++c) sums[c] += pixel[c];
        }
      const float count = static_cast<float>(static_cast<long>(y1 - y0) * (x1 - x0));
      for (int c = 0; c < channel_block; ++c) to[c] = sums[c] / count;
    }
  }
}

void flatten(const MapShape& shape, int block, const float* from, float* to) {
  const long pixels = shape.pixels();
  from += block * pixels * channel_block;
  const int first = block * channel_block;
  const int count = std::min(channel_block, shape.channels - first);
  for (int c = 0; c < count; ++c)
    for (long i = 0; i < pixels; ++i) to[(first + c) * pixels + i] = from[i * channel_block + c];
}

}  // namespace vgg
