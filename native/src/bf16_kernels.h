// The inner loops of the bfloat16 engine. bf16_kernels.cc is compiled once for each instruction
// set; nothing here may have external linkage except the tables.
//
// Layouts:
//   map      [picture][channels / 32][height + 2][width + 1][32] and one pixel more, in bfloat16.
//            Around the picture lie zeros; one column of them is enough, since what lies to the
//            right of a row lies to the left of the next one. So the nine taps of a convolution are
//            nine constant distances, and pixels are counted through, border and all. Channels past
//            the last are zeros.
//   vectors  [features / 32][picture][32]   a map whose pixels are the pictures of a batch
//   filters  [panel][channels / 32][tap][2][16][16 outputs][2 channels]   a panel is 32 outputs;
//            two channels lie side by side, as the products of pairs want them
#pragma once

namespace vgg {

using bfloat16 = unsigned short;

constexpr int bf16_block = 32;      // channels that lie together, and outputs of a panel
constexpr int bf16_step = 32 * 32;  // numbers of the filters of one tap and one block of channels

// One panel of outputs of some pixels that follow each other: a convolution of 3x3 or 1x1, or a
// linear layer. Sums are float32, over blocks of channels and then taps, in the same order for
// every pixel.
struct Bf16Convolution {
  const bfloat16* map;  // where the first pixel lies in channel block 0
  long block_stride;    // numbers between two blocks of channels
  int blocks;
  int taps;          // 9 or 1
  int row;           // pixels from one row to the next, its border counted
  int pixels;        // how many outputs, the border's counted
  int until_border;  // pixels before the first that is the border's; it and every row-th after
                     // it become zeros
  const bfloat16* filters;
  // Fetched meanwhile into the core's second cache: cache lines of filters that are read later, so
  // many of them with every tap and block of channels.
  const bfloat16* next_filters;
  long next_lines;
  int lines_at_a_time;
  const float* bias;  // [32]
  bool relu;
  bfloat16* out;  // [pixels][32], or null:
  float* logits;  // [pixels][logits_stride], the panel's first `outputs`, not rounded
  long logits_stride;
  int outputs;
};

// 2x2 max pooling of some rows of a block of channels.
struct Bf16Pooling {
  const bfloat16* map;  // the first pixel of the first row
  int row, out_row;     // pixels from one row to the next
  int rows, width;      // of the output
  bfloat16* out;
};

// The 27 numbers under a 3x3 window over three channels, for a row of pixels.
struct Bf16Patches {
  const bfloat16* rows;  // [3][width + 2][3], normalised, zeros around
  int width;
  bfloat16* patches;  // [width][32], (ky, kx, channel), the last five zeros
};

// torch's LocalResponseNorm of one row.
struct Bf16Response {
  const bfloat16* map;  // the row's first pixel in channel block 0
  long block_stride, out_block_stride;
  int channels, width;
  int before, after;  // channels that are summed on either side
  float k, factor, exponent;
  bfloat16* out;
  float* squares;  // scratch, [3][channels rounded up to blocks]
};

// Winograd's F(4x4, 3x3), as in kernels.h, with products of bfloat16:
//   transformed  [xi][channels / 32][tile][32]         B^T d B, rounded
//   filters      [panel][xi][channels / 32][2][16][16 outputs][2 channels]   G g G^T, rounded
//   products     [xi][tile][32], float32
// so that an xi is a Bf16Convolution of one tap, whose pixels are tiles.

struct Bf16Tiles {
  int height, width;  // of the map, in pixels
  int down, across;   // tiles
  int first, count;   // they count through the pictures of a batch: picture, row, column
};

// One block of channels.
struct Bf16InputTransform {
  const bfloat16* map;  // the first picture's first pixel
  long picture_stride;
  int row;  // pixels from one row to the next
  Bf16Tiles tiles;
  bfloat16* transformed;  // where the first of the tiles lies
  long plane;             // numbers between two xi
};

// One panel of outputs.
struct Bf16OutputTransform {
  const float* products;
  long plane;  // numbers between two xi
  Bf16Tiles tiles;
  const float* bias;  // [32]
  bool relu, pool;
  bfloat16* map;  // the first picture's first pixel
  long picture_stride;
  int row;  // pixels from one row to the next
};

struct Bf16Kernels {
  const char* isa;
  void (*convolve)(const Bf16Convolution&);
  void (*max_pool)(const Bf16Pooling&);
  void (*patches)(const Bf16Patches&);
  void (*normalise_response)(const Bf16Response&);
  // Null where the direct convolution is faster.
  void (*transform_input)(const Bf16InputTransform&);
  void (*transform_output)(const Bf16OutputTransform&);
  void (*release)();  // what a thread does when it has run: gives the tile registers back
};

#if defined(__x86_64__)
#if defined(VGG_HAS_AVX512BF16)
extern const Bf16Kernels avx512bf16_kernels;
#endif
#if defined(VGG_HAS_AMX)
extern const Bf16Kernels amx_kernels;
#endif
#endif

}  // namespace vgg
