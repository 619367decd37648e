// Linear layers with weights in bfloat16 and all else in float32. Compiled once for each
// instruction set with VGG_ISA set to avx512, avx2 or baseline; no standard headers, as in
// kernels.cc.
#include "bf16_kernels.h"

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
constexpr int lanes = 16, most_pictures = 6;
#elif defined(__AVX__)
constexpr int lanes = 8, most_pictures = 2;
#elif defined(__aarch64__)
constexpr int lanes = 4, most_pictures = 4;
#else
constexpr int lanes = 4, most_pictures = 2;
#endif

typedef float Vector __attribute__((vector_size(lanes * 4), aligned(4), may_alias));
typedef unsigned Pairs __attribute__((vector_size(lanes * 4), aligned(4), may_alias));

// Lane by lane the sum of W[row][...] * x[picture][...] over whole blocks of features: the order of
// the additions does not depend on how many pictures are taken at a time.
template <int pictures>
void dot_rows(const Bf16Linear& job, const float* x, Vector (&totals)[bf16_rows][most_pictures]) {
  Vector sums[bf16_rows][pictures] = {};
  const bfloat16* weights = job.weights;
  const long whole = job.features / bf16_block;
  for (long block = 0; block < whole; ++block, x += bf16_block, weights += bf16_rows * bf16_block)
#pragma GCC unroll 4
    for (int part = 0; part < 16; part += lanes) {
#pragma GCC unroll 4
      for (int row = 0; row < bf16_rows; ++row) {
        const Pairs pairs = *reinterpret_cast<const Pairs*>(weights + row * bf16_block + part * 2);
        const Vector first = reinterpret_cast<Vector>(pairs << 16);
        const Vector second = reinterpret_cast<Vector>(pairs & 0xffff0000u);
#pragma GCC unroll 6
        for (int picture = 0; picture < pictures; ++picture) {
          const float* features = x + picture * job.x_stride + part;
          sums[row][picture] += first * *reinterpret_cast<const Vector*>(features);
          sums[row][picture] += second * *reinterpret_cast<const Vector*>(features + 16);
        }
      }
    }
  for (int row = 0; row < bf16_rows; ++row)
    for (int picture = 0; picture < pictures; ++picture) totals[row][picture] = sums[row][picture];
}

template <int pictures>
void dot_rest(const Bf16Linear& job, const float* x, int left,
              Vector (&totals)[bf16_rows][most_pictures]) {
  if constexpr (pictures > 0) {
    if (left >= pictures) return dot_rows<pictures>(job, x, totals);
    dot_rest<pictures - 1>(job, x, left, totals);
  }
}

float widened(bfloat16 half) {
  const unsigned bits = static_cast<unsigned>(half) << 16;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

void linear(const Bf16Linear& job) {
  const long whole = job.features / bf16_block;
  const int rest = static_cast<int>(job.features % bf16_block);
  Vector totals[bf16_rows][most_pictures];
  for (int first = 0; first < job.pictures; first += most_pictures) {
    const int left = job.pictures - first;
    const int count = left < most_pictures ? left : most_pictures;
    dot_rest<most_pictures>(job, job.x + first * job.x_stride, count, totals);
    for (int row = 0; row < job.outputs; ++row)
      for (int picture = 0; picture < count; ++picture) {
        float parts[lanes];
        for (int i = 0; i < lanes; ++i) parts[i] = totals[row][picture][i];
        for (int half = lanes / 2; half > 0; half /= 2)
          for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
        float value = parts[0];
        const float* x = job.x + (first + picture) * job.x_stride + whole * bf16_block;
        const bfloat16* weights = job.weights + (whole * bf16_rows + row) * bf16_block;
        for (int i = 0; i < rest; ++i) value += widened(weights[i % 16 * 2 + i / 16]) * x[i];
        value += job.bias[row];
        job.y[(first + picture) * job.y_stride + row] = job.relu && value < 0 ? 0 : value;
      }
  }
}

}  // namespace

extern const Bf16LinearKernels VGG_JOIN(VGG_ISA, _bf16_linear) = {VGG_TEXT(VGG_ISA), linear};

}  // namespace vgg
