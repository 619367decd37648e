#include "bf16_pack.h"

#include <algorithm>

#include "cook_toom.h"

namespace vgg {
namespace {

int divided_up(long count, long by) { return static_cast<int>((count + by - 1) / by); }

// Where the weight of an output and a channel of a block lies within a step of a panel's filters.
int place_in_step(int output, int channel) {
  return output / 16 * (bf16_step / 2) + channel / 2 * 32 + output % 16 * 2 + channel % 2;
}

Floats padded_bias(const std::vector<double>& shift, int unit) {
  Floats bias(product({divided_up(static_cast<long>(shift.size()), unit), unit}));
  for (size_t output = 0; output < shift.size(); ++output)
    bias.data()[output] = static_cast<float>(shift[output]);
  return bias;
}

void forget_rows(const Spec& spec, const Layer& linear, int first, int end) {
  const size_t row = static_cast<size_t>(linear.in) * sizeof(float);
  if (spec.forget) spec.forget(linear.weight + first * row, (end - first) * row);
}

}  // namespace

Bf16Packed pack_bf16_convolution(const Layer& conv, const Layer* batchnorm, bool as_patches,
                                 Team& team) {
  const Affine affine = affine_of(conv, batchnorm);
  const int taps = conv.kernel * conv.kernel;
  const int blocks = as_patches ? 1 : divided_up(conv.in, bf16_block);
  const int steps = as_patches ? 1 : blocks * taps;
  const int panels = divided_up(conv.out, bf16_block);
  Bf16Packed packed;
  packed.panel_stride = static_cast<long>(steps) * bf16_step;
  packed.filters = Bfloat16s(product({panels, steps, bf16_step}));
  packed.bias = padded_bias(affine.shift, bf16_block);
  team.run([&](int) {
    for (int panel = team.claim(); panel < panels; panel = team.claim()) {
      bfloat16* to = packed.filters.data() + panel * packed.panel_stride;
      const int first = panel * bf16_block;
      for (int output = first; output < std::min(conv.out, first + bf16_block); ++output) {
        size_t index = static_cast<size_t>(output) * conv.in * taps;
        for (int input = 0; input < conv.in; ++input)
          for (int tap = 0; tap < taps; ++tap, ++index) {
            const int step = as_patches ? 0 : input / bf16_block * taps + tap;
            const int channel = as_patches ? tap * conv.in + input : input % bf16_block;
            to[step * bf16_step + place_in_step(output - first, channel)] = to_bfloat16(
                static_cast<float>(affine.scale[output] * read_float(conv.weight, index)));
          }
      }
    }
  });
  return packed;
}

Bf16Packed pack_bf16_winograd(const Layer& conv, const Layer* batchnorm, Team& team) {
  static constexpr CookToom<double, 4, 3> matrices{};
  constexpr int size = matrices.size, taps = 3;
  const Affine affine = affine_of(conv, batchnorm);
  const int blocks = divided_up(conv.in, bf16_block);
  const int panels = divided_up(conv.out, bf16_block);
  Bf16Packed packed;
  packed.panel_stride = static_cast<long>(size * size) * blocks * bf16_step;
  packed.filters = Bfloat16s(product({panels, packed.panel_stride}));
  packed.bias = padded_bias(affine.shift, bf16_block);
  team.run([&](int) {
    for (int output = team.claim(); output < conv.out; output = team.claim()) {
      bfloat16* panel = packed.filters.data() + output / bf16_block * packed.panel_stride;
      for (int input = 0; input < conv.in; ++input) {
        const size_t first = (static_cast<size_t>(output) * conv.in + input) * taps * taps;
        double columns[size][taps] = {};  // G g
        for (int i = 0; i < size; ++i)
          for (int ky = 0; ky < taps; ++ky)
            for (int kx = 0; kx < taps; ++kx)
              columns[i][kx] += matrices.filter[i][ky] * affine.scale[output] *
                                read_float(conv.weight, first + ky * taps + kx);
        bfloat16* to = panel + input / bf16_block * bf16_step +
                       place_in_step(output % bf16_block, input % bf16_block);
        for (int xi = 0; xi < size * size; ++xi, to += static_cast<long>(blocks) * bf16_step) {
          double sum = 0;
          for (int kx = 0; kx < taps; ++kx)
            sum += columns[xi / size][kx] * matrices.filter[xi % size][kx];
          *to = to_bfloat16(static_cast<float>(sum));
        }
      }
    }
  });
  return packed;
}

Bf16Packed pack_bf16_linear(const Spec& spec, const Layer& linear, Team& team) {
  const int blocks = divided_up(linear.in, bf16_block);
  const int panels = divided_up(linear.out, bf16_block);
  Bf16Packed packed;
  packed.panel_stride = static_cast<long>(blocks) * bf16_step;
  packed.filters = Bfloat16s(product({panels, blocks, bf16_step}));
  packed.bias = padded_bias(affine_of(linear, nullptr).shift, bf16_block);
  team.run([&](int) {
    for (int panel = team.claim(); panel < panels; panel = team.claim()) {
      const int first = panel * bf16_block;
      const int end = std::min(linear.out, first + bf16_block);
      for (int output = first; output < end; ++output) {
        bfloat16* to = packed.filters.data() + panel * packed.panel_stride;
        const size_t row = static_cast<size_t>(output) * linear.in;
        for (int feature = 0; feature < linear.in; ++feature)
          to[static_cast<long>(feature / bf16_block) * bf16_step +
             place_in_step(output - first, feature % bf16_block)] =
              to_bfloat16(read_float(linear.weight, row + feature));
      }
      forget_rows(spec, linear, first, end);
    }
  });
  return packed;
}

}  // namespace vgg
