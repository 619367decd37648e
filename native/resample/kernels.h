// The two inner loops of the resample, and where they are found. kernels.cc is compiled once for
// each instruction set; nothing in it may have external linkage except the tables, or code for one
// instruction set would be linked into another.
#pragma once

namespace vgg {

// Weights are fixed point with so many bits behind the point; results are rounded.
constexpr int precision_bits = 22;
constexpr unsigned half = 1u << (precision_bits - 1);

// horizontal() takes so many taps at a time, or a divisor of it.
constexpr int tap_group = 4;

// Bytes past the end of a row that horizontal() may read and, of the row that it makes, write.
constexpr int row_padding = 32;

// One axis, as horizontal() reads it: output `x` is made of the pixels from first[x] on, by the
// weights from weights + x * most * 4 on, each of which is there four times: R, G, B, nothing.
// There are groups[x] * tap_group of them; those past the last pixel are 0.
struct HorizontalTaps {
  const int* first;
  const int* groups;
  const unsigned* weights;
  long most;
  int count;
};

struct ResampleKernels {
  const char* isa;
  // A row of RGB pixels to taps.count RGB pixels.
  void (*horizontal)(const unsigned char* row, const HorizontalTaps& taps, unsigned char* result);
  // The weighted sum of rows: result[i] = sum over taps of rows[tap][i] * weights[tap]. Reads and
  // writes `bytes` of each row and no more.
  void (*vertical)(const unsigned char* const* rows, const unsigned* weights, int taps, long bytes,
                   unsigned char* result);
};

#if defined(__x86_64__)
extern const ResampleKernels avx512_resample_kernels;
extern const ResampleKernels avx2_resample_kernels;
#endif
// Which every machine of the architecture has.
#if defined(__aarch64__)
extern const ResampleKernels neon_resample_kernels;
static constexpr const ResampleKernels& plain_resample_kernels = neon_resample_kernels;
#else
extern const ResampleKernels baseline_resample_kernels;
static constexpr const ResampleKernels& plain_resample_kernels = baseline_resample_kernels;
#endif

}  // namespace vgg
