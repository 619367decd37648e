// By GCC's vector extensions. Compiled once for each instruction set with VGG_ISA set to avx512,
// avx2, neon or baseline. No standard headers, whose inline functions would be compiled for it
// too; those of the intrinsics are never anything but inlined.
//
// All sums are modulo 2^32, and the result is bits 22 to 29 of one: no sum of pixels comes near
// 2^30, and there is nothing to clamp.
#include "kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef VGG_ISA
#define VGG_ISA baseline
#endif
#define VGG_JOIN_(a, b) a##b
#define VGG_JOIN(a, b) VGG_JOIN_(a, b)
#define VGG_TEXT_(a) #a
#define VGG_TEXT(a) VGG_TEXT_(a)

namespace vgg {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif
// Of horizontal(): four lanes are the R, G, B of one pixel and one that is idle.
constexpr int taps_at_once = lanes / 4;
static_assert(tap_group % taps_at_once == 0, "a group is taken in whole steps");
static_assert(row_padding >= 3 * tap_group + lanes, "the last step of a row stays in its padding");

typedef unsigned char Byte;
typedef unsigned Sums __attribute__((vector_size(lanes * 4)));
typedef unsigned SumsAnywhere __attribute__((vector_size(lanes * 4), aligned(4), may_alias));
typedef Byte Bytes __attribute__((vector_size(lanes)));
typedef Byte BytesAnywhere __attribute__((vector_size(lanes), aligned(1), may_alias));
typedef unsigned short Halves __attribute__((vector_size(lanes * 2)));
typedef unsigned PixelSums __attribute__((vector_size(16)));

#define VGG_INLINE __attribute__((always_inline)) inline

// `lanes` bytes, each to a lane. GCC 12 does not find these instructions by itself, and warns of the
// plain intrinsic of AVX-512.
#if defined(__AVX512F__)
VGG_INLINE Sums widened_all(__m128i bytes) {
  return (Sums)_mm512_maskz_cvtepu8_epi32(0xffff, bytes);
}
#elif defined(__AVX2__)
VGG_INLINE Sums widened_all(__m128i bytes) { return (Sums)_mm256_cvtepu8_epi32(bytes); }
#endif

VGG_INLINE Sums widened(const Byte* from) {
#if defined(__AVX512F__)
  return widened_all(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#elif defined(__AVX2__)
  return widened_all(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
#else
  return Sums{from[0], from[1], from[2], from[3]};
#endif
}

// The same of taps_at_once pixels, with whatever there is in the idle lanes.
VGG_INLINE Sums widened_pixels(const Byte* from) {
#if defined(__AVX2__)
  const __m128i spread = _mm_setr_epi8(0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11, 12);
#endif
#if defined(__AVX512F__)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return widened_all(_mm_shuffle_epi8(bytes, spread));
#elif defined(__AVX2__)
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return widened_all(_mm_shuffle_epi8(bytes, spread));
#else
  return widened(from);
#endif
}

// The sum of the taps that lie beside each other.
VGG_INLINE PixelSums folded(const Sums& sums) {
  PixelSums parts[taps_at_once];
  __builtin_memcpy(parts, &sums, sizeof sums);
  PixelSums result = parts[0];
  for (int tap = 1; tap < taps_at_once; ++tap) result += parts[tap];
  return result;
}

// Writes four bytes. The last of them is the next pixel's first, which is not made yet, or padding.
VGG_INLINE void store_pixel(PixelSums sums, Byte* result) {
  const PixelSums rounded = (sums + half) >> precision_bits;
#if defined(__AVX2__)
  const __m128i first_bytes = _mm_set1_epi32(0x0c080400);
  const int pixel = _mm_cvtsi128_si32(_mm_shuffle_epi8((__m128i)rounded, first_bytes));
#else
  const unsigned pixel = rounded[0] | rounded[1] << 8 | rounded[2] << 16;
#endif
  __builtin_memcpy(result, &pixel, sizeof pixel);
}

void horizontal(const Byte* row, const HorizontalTaps& given, Byte* result) {
  const HorizontalTaps taps = given;  // Which no byte written below can change.
  for (int x = 0; x < taps.count; ++x) {
    const Byte* from = row + long{3} * taps.first[x];
    const unsigned* weights = taps.weights + 4 * taps.most * x;
    const int steps = taps.groups[x] * (tap_group / taps_at_once);
    Sums sums{};
    for (int step = 0; step < steps; ++step) {
      sums += widened_pixels(from) * *reinterpret_cast<const SumsAnywhere*>(weights);
      from += 3 * taps_at_once;
      weights += lanes;
    }
    store_pixel(folded(sums), result + long{3} * x);
  }
}

void vertical(const Byte* const* rows, const unsigned* weights, int taps, long bytes,
              Byte* result) {
  long at = 0;
  for (; at + lanes <= bytes; at += lanes) {
    Sums sums = Sums{} + half;
    for (int tap = 0; tap < taps; ++tap) sums += widened(rows[tap] + at) * weights[tap];
    const Halves rounded = __builtin_convertvector(sums >> precision_bits, Halves);
    *reinterpret_cast<BytesAnywhere*>(result + at) = __builtin_convertvector(rounded, Bytes);
  }
  for (; at < bytes; ++at) {
    unsigned sum = half;
    for (int tap = 0; tap < taps; ++tap) sum += rows[tap][at] * weights[tap];
    result[at] = static_cast<Byte>(sum >> precision_bits);
  }
}

}  // namespace

extern const ResampleKernels VGG_JOIN(VGG_ISA, _resample_kernels) = {VGG_TEXT(VGG_ISA), horizontal,
                                                                     vertical};

}  // namespace vgg
