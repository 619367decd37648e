// The transforms of cook_toom.h, of the packed filters and of the kernels, in exact rational
// arithmetic.
#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "../src/cook_toom.h"
#include "../src/kernels.h"
#include "../src/memory.h"
#include "../src/pack.h"
#include "check.h"
#include "machine.h"
#include "rational.h"

namespace vgg {
namespace {

// ---- the matrices ----

// A^T[(G g) ⊙ (B^T d)] of the filter that is 1 at `tap` and the input that is 1 at `at`. In one row
// the correlation of the two is 1 where input and tap meet, else 0. Both sides are linear in g and
// in d, so that agreement for all unit vectors proves the identity for all filters and inputs.
template <int tile, int taps>
constexpr bool is_identity_for(int tap, int at) {
  constexpr CookToom<Rational, tile, taps> exact{};
  for (int row = 0; row < tile; ++row) {
    Rational sum;
    for (int xi = 0; xi < exact.size; ++xi)
      sum = sum + exact.output[row][xi] * exact.filter[xi][tap] * exact.input[xi][at];
    if (sum != Rational(at == row + tap ? 1 : 0)) return false;
  }
  return true;
}

template <int tile, int taps>
void test_identity() {
  for (int tap = 0; tap < taps; ++tap)
    for (int at = 0; at < tile + taps - 1; ++at)
      CHECK((is_identity_for<tile, taps>(tap, at)), "F(%d, %d), tap %d, input %d", tile, taps, tap,
            at);
}

template <int rows, int columns>
void test_rounding(const char* name, int tile, int taps, const Rational (&exact)[rows][columns],
                   const double (&rounded)[rows][columns], bool is_exact_in_float) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) {
      const Rational value = exact[i][j];
      CHECK(rounded[i][j] == value.rounded<double>(),
            "%s[%d][%d] of F(%d, %d) is %ld / %ld, not %.17g", name, i, j, tile, taps,
            value.numerator, value.denominator, rounded[i][j]);
      // The kernels take B^T and A^T in float32.
      if (!is_exact_in_float) continue;
      const auto as_float = static_cast<float>(rounded[i][j]);
      CHECK(static_cast<double>(as_float) * static_cast<double>(value.denominator) ==
                static_cast<double>(value.numerator),
            "%s[%d][%d] of F(%d, %d) is %ld / %ld, not %.9g", name, i, j, tile, taps,
            value.numerator, value.denominator, as_float);
    }
}

template <int tile, int taps>
void test_matrices() {
  constexpr CookToom<Rational, tile, taps> exact{};
  constexpr CookToom<double, tile, taps> rounded{};
  test_identity<tile, taps>();
  test_rounding("A^T", tile, taps, exact.output, rounded.output, true);
  test_rounding("B^T", tile, taps, exact.input, rounded.input, true);
  test_rounding("G", tile, taps, exact.filter, rounded.filter, false);
}

// ---- two dimensions ----

// M x M^T: the transform of a square of numbers.
template <int to, int from>
void transform_square(const Rational (&matrix)[to][from], const Rational (&x)[from][from],
                      Rational (&out)[to][to]) {
  Rational half[to][from] = {};  // M x
  for (int i = 0; i < to; ++i)
    for (int j = 0; j < from; ++j)
      for (int k = 0; k < from; ++k) half[i][j] = half[i][j] + matrix[i][k] * x[k][j];
  for (int i = 0; i < to; ++i)
    for (int j = 0; j < to; ++j) {
      out[i][j] = 0;
      for (int k = 0; k < from; ++k) out[i][j] = out[i][j] + half[i][k] * matrix[j][k];
    }
}

// A^T [(G g G^T) ⊙ (B^T d B)] A of whole numbers is their correlation, exactly.
template <int tile, int taps>
void test_nested(std::mt19937& random) {
  constexpr CookToom<Rational, tile, taps> exact{};
  constexpr int size = tile + taps - 1;
  for (int round = 0; round < 20; ++round) {
    Rational g[taps][taps], d[size][size];
    for (auto& row : g)
      for (Rational& value : row) value = static_cast<int>(random() % 19) - 9;
    for (auto& row : d)
      for (Rational& value : row) value = static_cast<int>(random() % 511) - 255;
    Rational filter[size][size], input[size][size], products[size][size], output[tile][tile];
    transform_square(exact.filter, g, filter);
    transform_square(exact.input, d, input);
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) products[i][j] = filter[i][j] * input[i][j];
    transform_square(exact.output, products, output);
    for (int y = 0; y < tile; ++y)
      for (int x = 0; x < tile; ++x) {
        Rational direct;
        for (int ky = 0; ky < taps; ++ky)
          for (int kx = 0; kx < taps; ++kx) direct = direct + g[ky][kx] * d[y + ky][x + kx];
        CHECK(output[y][x] == direct, "F(%d x %d, %d x %d), round %d, row %d, column %d", tile,
              tile, taps, taps, round, y, x);
      }
  }
}

// ---- packed filters ----

// Every number of G g G^T is off by one rounding to float32; that of float64 before it is seen only
// where a sum is nearly halfway between two floats.
template <int tile, int taps>
void test_packed(const Kernels& kernels, std::mt19937& random) {
  constexpr CookToom<Rational, tile, taps> exact{};
  constexpr int size = tile + taps - 1, tap_count = taps * taps;
  const int panel = 2 * kernels.vector, inputs = 3, outputs = panel + 5, panels = 2;
  std::vector<float> weights(static_cast<size_t>(outputs) * inputs * tap_count);
  for (float& weight : weights) weight = static_cast<float>(static_cast<int>(random() % 255) - 127);
  Layer conv{};
  conv.in = inputs;
  conv.out = outputs;
  conv.kernel = taps;
  conv.weight = reinterpret_cast<const uint8_t*>(weights.data());
  Team team(2);
  Arena arena;
  const PackedConvolution packed = pack_winograd(conv, nullptr, tile, kernels, team, arena);
  for (int output = 0; output < panels * panel; ++output)
    for (int input = 0; input < inputs; ++input) {
      Rational g[taps][taps] = {}, filter[size][size];
      for (int tap = 0; tap < (output < outputs ? tap_count : 0); ++tap)
        g[tap / taps][tap % taps] =
            static_cast<int64_t>(weights[(output * inputs + input) * tap_count + tap]);
      transform_square(exact.filter, g, filter);
      for (int xi = 0; xi < size * size; ++xi) {
        const int at =
            ((xi * panels + output / panel) * inputs + input) * panel + output % panel;
        const double right = filter[xi / size][xi % size].template rounded<double>();
        const double error = std::abs(packed.filters.data()[at] - right);
        CHECK(error <= std::ldexp(std::abs(right), -24) * (1 + 1e-7) + 1e-13,
              "%s, F%d, output %d, input %d, xi %d: %.17g, not %.17g", kernels.isa, tile, output,
              input, xi, packed.filters.data()[at], right);
      }
    }
}

// ---- the kernels' transforms ----

// Whole numbers small enough for every sum to be exact in float32, in any order, with or without
// fused multiplications: kernels and fractions agree to the bit.

float exact_float(Rational value) {
  const auto result = value.rounded<float>();
  if (static_cast<double>(result) * static_cast<double>(value.denominator) !=
      static_cast<double>(value.numerator))
    throw std::overflow_error("a test whose numbers are not exact in float32");
  return result;
}

template <int tile, int taps>
void test_input_kernel(const Kernels& kernels, int height, int width, std::mt19937& random) {
  constexpr CookToom<Rational, tile, taps> exact{};
  constexpr int size = tile + taps - 1, pad = (taps - 1) / 2;
  const int channel_blocks = 2, pictures = 2;
  const TileGrid grid{height, width, (height + tile - 1) / tile, (width + tile - 1) / tile};
  const int tiles = pictures * grid.down * grid.across;
  const TileBlocks blocks{tiles, (tiles + kernels.rows - 1) / kernels.rows};
  const long plane = static_cast<long>(tiles) * channel_blocks * channel_block + 16;
  Floats map(static_cast<size_t>(pictures) * channel_blocks * height * width * channel_block);
  for (size_t i = 0; i < map.size(); ++i)
    map.data()[i] = static_cast<float>(static_cast<int>(random() % 31) - 15);
  Floats transformed(plane * size * size);

  InputTransform job{};
  job.map = map.data();
  job.picture_stride = static_cast<long>(map.size()) / pictures;
  job.grid = grid;
  job.blocks = blocks;
  job.channel_block_stride = static_cast<long>(height) * width * channel_block;
  job.channel_blocks = job.end_channel_block = channel_blocks;
  job.transformed = transformed.data();
  job.plane = plane;
  kernels.transform_input[tile / 2](job);

  int wrong = 0;
  for (int block = 0; block < blocks.count; ++block)
    for (int index = block_start(blocks, block); index < block_start(blocks, block + 1); ++index)
      for (int channel = 0; channel < channel_blocks * channel_block; ++channel) {
        const int picture = index / (grid.down * grid.across);
        const int place = index % (grid.down * grid.across);
        const int y0 = place / grid.across * tile - pad, x0 = place % grid.across * tile - pad;
        Rational d[size][size] = {}, input[size][size];
        for (int y = std::max(0, -y0); y < std::min(size, height - y0); ++y)
          for (int x = std::max(0, -x0); x < std::min(size, width - x0); ++x)
            d[y][x] = static_cast<int64_t>(
                map.data()[picture * job.picture_stride +
                           ((channel / channel_block * height + y0 + y) * width + x0 + x) *
                               channel_block +
                           channel % channel_block]);
        transform_square(exact.input, d, input);
        const int start = block_start(blocks, block);
        const int rows = block_start(blocks, block + 1) - start;
        const long at = (start * channel_blocks + channel / channel_block * rows + index - start) *
                            channel_block +
                        channel % channel_block;
        for (int xi = 0; xi < size * size; ++xi)
          wrong += transformed.data()[xi * plane + at] != exact_float(input[xi / size][xi % size]);
      }
  CHECK(wrong == 0, "%s, B^T d B of F%d, %d x %d pixels: %d numbers", kernels.isa, tile, height,
        width, wrong);
}

template <int tile, int taps>
void test_output_kernel(const Kernels& kernels, int height, int width, bool pool, bool relu,
                        std::mt19937& random) {
  constexpr CookToom<Rational, tile, taps> exact{};
  constexpr int size = tile + taps - 1;
  const int panel = 2 * kernels.vector, pictures = 2;
  const TileGrid grid{height, width, (height + tile - 1) / tile, (width + tile - 1) / tile};
  const int tiles = pictures * grid.down * grid.across;
  const int down = pool ? height / 2 : height, across = pool ? width / 2 : width;
  const int channel_blocks = (panel + channel_block - 1) / channel_block;
  const long plane = static_cast<long>(tiles) * panel + 16;
  Floats products(plane * size * size), bias(panel);
  for (size_t i = 0; i < products.size(); ++i)
    products.data()[i] = static_cast<float>(static_cast<int>(random() % 3) - 1);
  for (int k = 0; k < panel; ++k)
    bias.data()[k] = static_cast<float>(static_cast<int>(random() % 31) - 15);
  Floats map(static_cast<size_t>(pictures) * channel_blocks * down * across * channel_block);

  OutputTransform job{};
  job.products = products.data();
  job.plane = plane;
  job.grid = grid;
  job.tiles = tiles;
  job.vectors = 2;
  job.bias = bias.data();
  job.relu = relu;
  job.pool = pool;
  job.map = map.data();
  job.picture_stride = static_cast<long>(map.size()) / pictures;
  kernels.transform_output[tile / 2](job);

  // The whole map as it is before pooling, in exact numbers: [picture][channel][y][x].
  std::vector<float> whole(static_cast<size_t>(pictures) * panel * height * width);
  const auto value_at = [&](int picture, int channel, int y, int x) -> float& {
    return whole[((static_cast<size_t>(picture) * panel + channel) * height + y) * width + x];
  };
  for (int index = 0; index < tiles; ++index)
    for (int channel = 0; channel < panel; ++channel) {
      Rational m[size][size], output[tile][tile];
      for (int xi = 0; xi < size * size; ++xi)
        m[xi / size][xi % size] = static_cast<int64_t>(
            products.data()[xi * plane + static_cast<long>(index) * panel + channel]);
      transform_square(exact.output, m, output);
      const int place = index % (grid.down * grid.across);
      const int y0 = place / grid.across * tile, x0 = place % grid.across * tile;
      for (int y = 0; y < std::min(tile, height - y0); ++y)
        for (int x = 0; x < std::min(tile, width - x0); ++x)
          value_at(index / (grid.down * grid.across), channel, y0 + y, x0 + x) = exact_float(
              output[y][x] + Rational(static_cast<int64_t>(bias.data()[channel])));
    }
  int wrong = 0;
  const int step = pool ? 2 : 1;
  for (int picture = 0; picture < pictures; ++picture)
    for (int channel = 0; channel < panel; ++channel)
      for (int y = 0; y < down; ++y)
        for (int x = 0; x < across; ++x) {
          float right = relu ? 0 : -INFINITY;
          for (int py = 0; py < step; ++py)
            for (int px = 0; px < step; ++px)
              right = std::max(right, value_at(picture, channel, y * step + py, x * step + px));
          wrong += map.data()[picture * job.picture_stride +
                              ((channel / channel_block * down + y) * across + x) * channel_block +
                              channel % channel_block] != right;
        }
  CHECK(wrong == 0, "%s, A^T m A of F%d, %d x %d pixels, pool %d, relu %d: %d numbers", kernels.isa,
        tile, height, width, pool, relu, wrong);
}

template <int tile, int taps>
void test_kernels(const Kernels& kernels, std::mt19937& random) {
  test_packed<tile, taps>(kernels, random);
  for (const int height : {1, 2, 5, 8, 13})
    for (const int width : {1, 2, 7, 12}) {
      test_input_kernel<tile, taps>(kernels, height, width, random);
      for (const bool relu : {false, true}) {
        test_output_kernel<tile, taps>(kernels, height, width, false, relu, random);
        if (tile % 2 == 0 && height > 1 && width > 1)
          test_output_kernel<tile, taps>(kernels, height, width, true, relu, random);
      }
    }
}

}  // namespace
}  // namespace vgg

int main() {
  using namespace vgg;
  test_matrices<2, 3>();
  test_matrices<4, 3>();
  test_matrices<6, 3>();
  test_matrices<1, 1>();
  test_matrices<2, 1>();
  test_matrices<4, 1>();
  test_matrices<6, 1>();
  std::mt19937 random(7);
  test_nested<2, 3>(random);
  test_nested<4, 3>(random);
  test_nested<6, 3>(random);
  test_nested<1, 1>(random);
  test_nested<4, 1>(random);
  for (const char* isa : instruction_sets()) {
    const Kernels& kernels = *choose_kernels(isa);
    test_kernels<1, 1>(kernels, random);
    test_kernels<2, 3>(kernels, random);
    test_kernels<4, 3>(kernels, random);
    test_kernels<6, 3>(kernels, random);
  }
  return summary();
}
