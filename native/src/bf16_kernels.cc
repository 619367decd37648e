// The inner loops of the bfloat16 engine, compiled once for each instruction set with VGG_ISA set
// to amx or avx512bf16. No standard headers, as in kernels.cc: only the compiler's own intrinsics.
#include "bf16_kernels.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own intrinsics, whose unused operand is undefined on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "cook_toom.h"

#ifndef VGG_ISA
#define VGG_ISA avx512bf16
#endif
#define VGG_JOIN_(a, b) a##b
#define VGG_JOIN(a, b) VGG_JOIN_(a, b)
#define VGG_TEXT_(a) #a
#define VGG_TEXT(a) VGG_TEXT_(a)
#define VGG_INLINE __attribute__((always_inline))

namespace vgg {
namespace {

VGG_INLINE inline __m512 widened(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
VGG_INLINE inline __m512i rounded(__m512 low, __m512 high) {
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// What becomes of the sums [count][32] of the job's pixels first, first + 1, ...; `border` is the
// next pixel of the border.
VGG_INLINE inline void finish(const Bf16Convolution& job, const float* sums, int first, int count,
                              long& border) {
  const __m512 low_bias = _mm512_loadu_ps(job.bias), high_bias = _mm512_loadu_ps(job.bias + 16);
  const __m512 least = _mm512_set1_ps(job.relu ? 0.0f : -__builtin_inff());
  // NaN stays NaN: the second operand is taken then.
  const auto low = [&](int i) VGG_INLINE {
    return _mm512_max_ps(least, _mm512_add_ps(_mm512_load_ps(sums + i * bf16_block), low_bias));
  };
  const auto high = [&](int i) VGG_INLINE {
    return _mm512_max_ps(least,
                         _mm512_add_ps(_mm512_load_ps(sums + i * bf16_block + 16), high_bias));
  };
  if (job.out) {
    bfloat16* const out = job.out + static_cast<long>(first) * bf16_block;
    for (int i = 0; i < count; ++i)
      _mm512_storeu_si512(out + i * bf16_block, rounded(low(i), high(i)));
    for (; border < first + count; border += job.row)
      _mm512_storeu_si512(job.out + border * bf16_block, _mm512_setzero_si512());
    return;
  }
  const unsigned in_use = job.outputs >= 32 ? ~0u : (1u << job.outputs) - 1;
  float* to = job.logits + first * job.logits_stride;
  for (int i = 0; i < count; ++i, to += job.logits_stride) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>(in_use), low(i));
    if (job.outputs > 16)
      _mm512_mask_storeu_ps(to + 16, static_cast<__mmask16>(in_use >> 16), high(i));
  }
}

struct Fetch {
  const bfloat16* from;
  long lines;
  const int at_a_time;

  explicit Fetch(const Bf16Convolution& job)
      : from(job.next_filters), lines(job.next_lines), at_a_time(job.lines_at_a_time) {}

  VGG_INLINE inline void step() {
    if (lines <= 0) return;
    for (int i = 0; i < at_a_time; ++i) _mm_prefetch(from + i * 32, _MM_HINT_T1);
    from += at_a_time * 32;
    lines -= at_a_time;
  }
};

// body(pixels of a tap and a channel block, their filters) in the order of the sums.
template <class Body>
VGG_INLINE inline void each_step(const Bf16Convolution& job, const bfloat16* first,
                                 const Body& body) {
  const bfloat16* filters = job.filters;
  const long row = static_cast<long>(job.row) * bf16_block;
  for (int block = 0; block < job.blocks; ++block, first += job.block_stride) {
    if (job.taps == 1) {
      body(first, filters);
      filters += bf16_step;
      continue;
    }
    for (int ky = -1; ky <= 1; ++ky)
      for (int kx = -1; kx <= 1; ++kx, filters += bf16_step)
        body(first + ky * row + kx * bf16_block, filters);
  }
}

#if defined(__AMX_BF16__)

// ---- convolution by tiles ----
//
// A tile register has up to 16 rows of 64 bytes: 16 pixels of 32 channels, the filters of 16
// outputs for them, or 16 x 16 sums in float32. There are eight. With two tiles of pixels, 4 and 5
// hold them, 6 and 7 the filters of 32 outputs, 0 to 3 the sums of both with both. With three, each
// is loaded into 6 twice, and 0 to 5 hold the sums: filters are read less often.

constexpr int tile_rows = 16;
constexpr int tile_numbers = 16 * 32;

struct TileConfiguration {
  unsigned char palette = 1;
  unsigned char start_row = 0;
  unsigned char reserved[14] = {};
  unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  unsigned char rows[16] = {};
};

// The pixels of tiles 4 and 5, where there are two.
void configure(int first, int second) {
  TileConfiguration configuration;
  const int rows[8] = {first, first, second, second, first, second, tile_rows, tile_rows};
  for (int tile = 0; tile < 8; ++tile)
    configuration.rows[tile] = static_cast<unsigned char>(rows[tile]);
  // The intrinsic of GCC 12 tells the compiler of the first eight bytes only.
  asm volatile("ldtilecfg %0" ::"m"(configuration));
}

// sums: [32 pixels][32 outputs]
template <int pixel_tiles>
VGG_INLINE inline void multiply_tiles(const Bf16Convolution& job, int pixel, float* sums,
                                      Fetch& fetch) {
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (pixel_tiles == 2) {
    _tile_zero(2);
    _tile_zero(3);
  }
  each_step(job, job.map + static_cast<long>(pixel) * bf16_block,
            [&](const bfloat16* pixels, const bfloat16* filters) VGG_INLINE {
              fetch.step();
              _tile_loadd(6, filters, 64);
              _tile_loadd(4, pixels, 64);
              _tile_dpbf16ps(0, 4, 6);
              _tile_loadd(7, filters + tile_numbers, 64);
              _tile_dpbf16ps(1, 4, 7);
              if constexpr (pixel_tiles == 2) {
                _tile_loadd(5, pixels + tile_numbers, 64);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
              }
            });
  constexpr int line = bf16_block * sizeof(float);
  _tile_stored(0, sums, line);
  _tile_stored(1, sums + 16, line);
  if constexpr (pixel_tiles == 2) {
    _tile_stored(2, sums + tile_rows * bf16_block, line);
    _tile_stored(3, sums + tile_rows * bf16_block + 16, line);
  }
}

// The same of three tiles of pixels. sums: [48 pixels][32 outputs]
VGG_INLINE inline void multiply_three_tiles(const Bf16Convolution& job, int pixel, float* sums,
                                            Fetch& fetch) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  each_step(job, job.map + static_cast<long>(pixel) * bf16_block,
            [&](const bfloat16* pixels, const bfloat16* filters) VGG_INLINE {
              fetch.step();
              _tile_loadd(7, filters, 64);
              _tile_loadd(6, pixels, 64);
              _tile_dpbf16ps(0, 6, 7);
              _tile_loadd(6, pixels + tile_numbers, 64);
              _tile_dpbf16ps(2, 6, 7);
              _tile_loadd(6, pixels + 2 * tile_numbers, 64);
              _tile_dpbf16ps(4, 6, 7);
              _tile_loadd(7, filters + tile_numbers, 64);
              _tile_dpbf16ps(5, 6, 7);
              _tile_loadd(6, pixels + tile_numbers, 64);
              _tile_dpbf16ps(3, 6, 7);
              _tile_loadd(6, pixels, 64);
              _tile_dpbf16ps(1, 6, 7);
            });
  constexpr int line = bf16_block * sizeof(float);
  constexpr int tile = tile_rows * bf16_block;
  _tile_stored(0, sums, line);
  _tile_stored(1, sums + 16, line);
  _tile_stored(2, sums + tile, line);
  _tile_stored(3, sums + tile + 16, line);
  _tile_stored(4, sums + 2 * tile, line);
  _tile_stored(5, sums + 2 * tile + 16, line);
}

// From so many steps on three tiles are 3 to 9 % faster than two. Below, they are slower: the
// filters stay in the first cache then, and what is done with the sums weighs more.
constexpr int least_steps_of_three = 36;

void convolve(const Bf16Convolution& job) {
  constexpr int at_a_time = 2 * tile_rows, three_tiles = 3 * tile_rows;
  alignas(64) float sums[three_tiles * bf16_block];
  long border = job.until_border;
  Fetch fetch(job);
  int pixel = 0;
  if (job.pixels >= at_a_time) configure(tile_rows, tile_rows);
  if (job.blocks * job.taps >= least_steps_of_three)
    for (; pixel + three_tiles <= job.pixels; pixel += three_tiles) {
      multiply_three_tiles(job, pixel, sums, fetch);
      finish(job, sums, pixel, three_tiles, border);
    }
  for (; pixel + at_a_time <= job.pixels; pixel += at_a_time) {
    multiply_tiles<2>(job, pixel, sums, fetch);
    finish(job, sums, pixel, at_a_time, border);
  }
  const int left = job.pixels - pixel;
  if (left > tile_rows) {
    configure(tile_rows, left - tile_rows);
    multiply_tiles<2>(job, pixel, sums, fetch);
  } else if (left > 0) {
    configure(left, left);
    multiply_tiles<1>(job, pixel, sums, fetch);
  }
  finish(job, sums, pixel, left, border);
}

constexpr auto transform_input = nullptr, transform_output = nullptr;

void release() { _tile_release(); }

#else

// ---- convolution by products of pairs ----

constexpr int most_pixels = 14;  // x 2 vectors of outputs: 28 of 32 registers

template <int pixels>
void multiply_pairs(const Bf16Convolution& job, int pixel, float* sums, Fetch& fetch) {
  __m512 low[pixels], high[pixels];
#pragma GCC unroll 14
  for (int i = 0; i < pixels; ++i) low[i] = high[i] = _mm512_setzero_ps();
  each_step(job, job.map + static_cast<long>(pixel) * bf16_block,
            [&](const bfloat16* first, const bfloat16* filters) VGG_INLINE {
              fetch.step();
              for (int pair = 0; pair < 16; ++pair) {
                const __m512bh w0 = (__m512bh)_mm512_loadu_si512(filters + pair * 32);
                const __m512bh w1 = (__m512bh)_mm512_loadu_si512(filters + 512 + pair * 32);
#pragma GCC unroll 14
                for (int i = 0; i < pixels; ++i) {
                  int channels;
                  __builtin_memcpy(&channels, first + i * bf16_block + pair * 2, 4);
                  const __m512bh x = (__m512bh)_mm512_set1_epi32(channels);
                  low[i] = _mm512_dpbf16_ps(low[i], x, w0);
                  high[i] = _mm512_dpbf16_ps(high[i], x, w1);
                }
              }
            });
#pragma GCC unroll 14
  for (int i = 0; i < pixels; ++i) {
    _mm512_store_ps(sums + i * bf16_block, low[i]);
    _mm512_store_ps(sums + i * bf16_block + 16, high[i]);
  }
}

template <int pixels>
void multiply_rest(const Bf16Convolution& job, int pixel, int left, float* sums, Fetch& fetch) {
  if constexpr (pixels > 0) {
    if (left == pixels) return multiply_pairs<pixels>(job, pixel, sums, fetch);
    multiply_rest<pixels - 1>(job, pixel, left, sums, fetch);
  }
}

void convolve(const Bf16Convolution& job) {
  alignas(64) float sums[most_pixels * bf16_block];
  long border = job.until_border;
  Fetch fetch(job);
  int pixel = 0;
  for (; pixel + most_pixels <= job.pixels; pixel += most_pixels) {
    multiply_pairs<most_pixels>(job, pixel, sums, fetch);
    finish(job, sums, pixel, most_pixels, border);
  }
  multiply_rest<most_pixels - 1>(job, pixel, job.pixels - pixel, sums, fetch);
  finish(job, sums, pixel, job.pixels - pixel, border);
}

// ---- Winograd's transforms ----

constexpr CookToom<double, 4, 3> matrices{};
constexpr int tile_size = 6;

// The sum of row[j] * d[j]; zeros and ones cost nothing.
template <class Row, int j = 0>
VGG_INLINE inline __m512 combined(Row row, const __m512 (&d)[tile_size]) {
  constexpr float factor = static_cast<float>(row()[j]);
  if constexpr (j + 1 == tile_size) {
    return factor == 0 ? _mm512_setzero_ps() : _mm512_mul_ps(_mm512_set1_ps(factor), d[j]);
  } else {
    const __m512 rest = combined<Row, j + 1>(row, d);
    if constexpr (factor == 0) return rest;
    if constexpr (factor == 1) return _mm512_add_ps(d[j], rest);
    return _mm512_fmadd_ps(_mm512_set1_ps(factor), d[j], rest);
  }
}

template <int r>
struct InputRow {
  constexpr const double* operator()() const { return matrices.input[r]; }
};
template <int r>
struct OutputRow {
  constexpr const double* operator()() const { return matrices.output[r]; }
};

VGG_INLINE inline void transform(const __m512 (&d)[tile_size], __m512 (&out)[tile_size]) {
  out[0] = combined(InputRow<0>{}, d);
  out[1] = combined(InputRow<1>{}, d);
  out[2] = combined(InputRow<2>{}, d);
  out[3] = combined(InputRow<3>{}, d);
  out[4] = combined(InputRow<4>{}, d);
  out[5] = combined(InputRow<5>{}, d);
}

VGG_INLINE inline void transform(const __m512 (&m)[tile_size], __m512 (&out)[4]) {
  out[0] = combined(OutputRow<0>{}, m);
  out[1] = combined(OutputRow<1>{}, m);
  out[2] = combined(OutputRow<2>{}, m);
  out[3] = combined(OutputRow<3>{}, m);
}

struct TilePlace {
  int picture, y, x;  // the tile's first output
  TilePlace(const Bf16Tiles& tiles, int index) {
    const int place = (tiles.first + index) % (tiles.down * tiles.across);
    picture = (tiles.first + index) / (tiles.down * tiles.across);
    y = place / tiles.across * 4;
    x = place % tiles.across * 4;
  }
};

void transform_input(const Bf16InputTransform& job) {
  const Bf16Tiles& tiles = job.tiles;
  for (int index = 0; index < tiles.count; ++index) {
    const TilePlace place(tiles, index);
    const bfloat16* map = job.map + place.picture * job.picture_stride;
    __m512 columns[2][tile_size][tile_size];  // d B, by halves of the channels
    for (int y = 0; y < tile_size; ++y) {
      const int row = place.y + y - 1;
      const bfloat16* line = map + (static_cast<long>(row) * job.row + place.x - 1) * bf16_block;
      for (int half = 0; half < 2; ++half) {
        __m512 d[tile_size];
#pragma GCC unroll 6
        for (int x = 0; x < tile_size; ++x) {
          // The border is a single row and column of zeros; tiles may reach farther.
          const bool inside = row <= tiles.height && place.x + x - 1 <= tiles.width;
          d[x] = inside ? widened(_mm256_loadu_si256(
                              reinterpret_cast<const __m256i*>(line + x * bf16_block + half * 16)))
                        : _mm512_setzero_ps();
        }
        transform(d, columns[half][y]);
      }
    }
    bfloat16* to = job.transformed + static_cast<long>(index) * bf16_block;
    for (int x = 0; x < tile_size; ++x) {
      __m512 out[2][tile_size];
      for (int half = 0; half < 2; ++half) {
        __m512 d[tile_size];
#pragma GCC unroll 6
        for (int y = 0; y < tile_size; ++y) d[y] = columns[half][y][x];
        transform(d, out[half]);
      }
#pragma GCC unroll 6
      for (int y = 0; y < tile_size; ++y)
        _mm512_storeu_si512(to + (y * tile_size + x) * job.plane, rounded(out[0][y], out[1][y]));
    }
  }
}

// One half of the outputs of one tile.
VGG_INLINE inline void finish_tile(const float* products, long plane, __m512 (&out)[4][4]) {
  __m512 columns[4][tile_size];  // A^T m
#pragma GCC unroll 6
  for (int x = 0; x < tile_size; ++x) {
    __m512 m[tile_size], column[4];
#pragma GCC unroll 6
    for (int y = 0; y < tile_size; ++y)
      m[y] = _mm512_loadu_ps(products + (y * tile_size + x) * plane);
    transform(m, column);
#pragma GCC unroll 4
    for (int y = 0; y < 4; ++y) columns[y][x] = column[y];
  }
#pragma GCC unroll 4
  for (int y = 0; y < 4; ++y) transform(columns[y], out[y]);
}

void transform_output(const Bf16OutputTransform& job) {
  const Bf16Tiles& tiles = job.tiles;
  const int side = job.pool ? 2 : 4;
  const int height = job.pool ? tiles.height / 2 : tiles.height;
  const int width = job.pool ? tiles.width / 2 : tiles.width;
  const __m512 least = _mm512_set1_ps(job.relu ? 0.0f : -__builtin_inff());
  for (int index = 0; index < tiles.count; ++index) {
    const TilePlace place(tiles, index);
    const int y0 = job.pool ? place.y / 2 : place.y, x0 = job.pool ? place.x / 2 : place.x;
    bfloat16* to = job.map + place.picture * job.picture_stride +
                   (static_cast<long>(y0) * job.row + x0) * bf16_block;
    __m512 out[2][4][4];
    for (int half = 0; half < 2; ++half) {
      finish_tile(job.products + static_cast<long>(index) * bf16_block + half * 16, job.plane,
                  out[half]);
      const __m512 bias = _mm512_loadu_ps(job.bias + half * 16);
      for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x) {
          __m512 value = out[half][y][x];
          if (job.pool) {
            const __m512(&from)[4][4] = out[half];
            value =
                _mm512_max_ps(_mm512_max_ps(from[2 * y][2 * x], from[2 * y][2 * x + 1]),
                              _mm512_max_ps(from[2 * y + 1][2 * x], from[2 * y + 1][2 * x + 1]));
          }
          out[half][y][x] = _mm512_max_ps(least, _mm512_add_ps(value, bias));
        }
    }
    for (int y = 0; y < side && y0 + y < height; ++y)
      for (int x = 0; x < side && x0 + x < width; ++x)
        _mm512_storeu_si512(to + (static_cast<long>(y) * job.row + x) * bf16_block,
                            rounded(out[0][y][x], out[1][y][x]));
  }
}

void release() {}

#endif

// ---- the others ----

// The larger of each, as float32: the lower halves by shifting them up, the upper ones as they lie.
VGG_INLINE inline __m512i max_of(__m512i a, __m512i b) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const __m512 low = _mm512_max_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)),
                                   _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)));
  const __m512 high = _mm512_max_ps(_mm512_castsi512_ps(_mm512_and_si512(a, upper)),
                                    _mm512_castsi512_ps(_mm512_and_si512(b, upper)));
  return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(low), 16),
                         _mm512_castps_si512(high));
}

void max_pool(const Bf16Pooling& job) {
  const long row = static_cast<long>(job.row) * bf16_block;
  for (int y = 0; y < job.rows; ++y) {
    const bfloat16* from = job.map + 2 * y * row;
    bfloat16* to = job.out + static_cast<long>(y) * job.out_row * bf16_block;
    for (int x = 0; x < job.width; ++x, from += 2 * bf16_block, to += bf16_block) {
      const __m512i above = max_of(_mm512_loadu_si512(from), _mm512_loadu_si512(from + bf16_block));
      const __m512i below =
          max_of(_mm512_loadu_si512(from + row), _mm512_loadu_si512(from + row + bf16_block));
      _mm512_storeu_si512(to, max_of(above, below));
    }
    _mm512_storeu_si512(to, _mm512_setzero_si512());  // the border
  }
}

void patches(const Bf16Patches& job) {
  const long row = (static_cast<long>(job.width) + 2) * 3;
  for (int x = 0; x < job.width; ++x) {
    const bfloat16* from = job.rows + x * 3;
    __m512i patch = _mm512_maskz_loadu_epi16(0x1ff, from);
    patch = _mm512_mask_loadu_epi16(patch, 0x1ffu << 9, from + row - 9);
    patch = _mm512_mask_loadu_epi16(patch, 0x1ffu << 18, from + 2 * row - 18);
    _mm512_storeu_si512(job.patches + static_cast<long>(x) * bf16_block, patch);
  }
}

void normalise_response(const Bf16Response& job) {
  const int padded = (job.channels + bf16_block - 1) / bf16_block * bf16_block;
  float* values = job.squares;
  float* squares = values + padded;
  float* powers = squares + padded;
  for (int x = 0; x < job.width; ++x) {
    for (int channel = 0; channel < padded; channel += 16) {
      const bfloat16* from = job.map + channel / bf16_block * job.block_stride +
                             static_cast<long>(x) * bf16_block + channel % bf16_block;
      const __m512 value = widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
      _mm512_storeu_ps(values + channel, value);
      _mm512_storeu_ps(squares + channel, _mm512_mul_ps(value, value));
    }
    for (int channel = 0; channel < padded; ++channel) {
      const int first = channel > job.before ? channel - job.before : 0;
      const int last = channel + job.after < job.channels ? channel + job.after : job.channels - 1;
      float sum = 0;
      for (int i = first; i <= last; ++i) sum += squares[i];
      powers[channel] = channel < job.channels ? job.k + job.factor * sum : 1;
    }
    if (job.exponent == 0.75f) {  // the usual one, which needs no pow
      for (int channel = 0; channel < padded; channel += 16) {
        const __m512 root = _mm512_sqrt_ps(_mm512_loadu_ps(powers + channel));
        _mm512_storeu_ps(powers + channel, _mm512_mul_ps(root, _mm512_sqrt_ps(root)));
      }
    } else {
      for (int channel = 0; channel < padded; ++channel)
        powers[channel] = __builtin_powf(powers[channel], job.exponent);
    }
    for (int channel = 0; channel < padded; channel += bf16_block) {
      bfloat16* to =
          job.out + channel / bf16_block * job.out_block_stride + static_cast<long>(x) * bf16_block;
      const auto quotient = [&](int c) VGG_INLINE {
        return _mm512_div_ps(_mm512_loadu_ps(values + c), _mm512_loadu_ps(powers + c));
      };
      _mm512_storeu_si512(to, rounded(quotient(channel), quotient(channel + 16)));
    }
  }
}

}  // namespace

extern const Bf16Kernels VGG_JOIN(VGG_ISA, _kernels) = {
    VGG_TEXT(VGG_ISA),  convolve,        max_pool,         patches,
    normalise_response, transform_input, transform_output, release,
};

}  // namespace vgg
