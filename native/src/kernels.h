// What the inner loops take and where they are found. kernels.cc is compiled once for each
// instruction set; nothing here may have external linkage except the tables, or code for one
// instruction set would be linked into another.
//
// Layouts, in float32:
//   map          [picture][channels / 16][height][width][16]; channels past the last are undefined
//   transformed  [xi][block of tiles][channels / 16][tile of the block][16]   the picture's tiles,
//   B^T d B filters      [xi][panel][channel][2 vectors of outputs]                   G g G^T
//   products     [panel][xi][tile][2 vectors of outputs]
// xi counts the size * size positions of a transformed tile. A panel is the outputs that the
// multiplying kernel makes at a time: two vectors, 32 with AVX-512.
#pragma once

namespace vgg {

constexpr int channel_block = 16;

// The tiles of one run through the kernels, cut into blocks of about the same size, none above the
// kernel's rows.
struct TileBlocks {
  int tiles;
  int count;
};

static inline int block_start(const TileBlocks& blocks, int block) {
  return static_cast<int>(static_cast<long>(blocks.tiles) * block / blocks.count);
}

// Where tiles lie. They count through the pictures of a batch: picture, row, column.
struct TileGrid {
  int height, width;  // of the map, in pixels
  int down, across;   // tiles
};

struct InputTransform {
  const float* map;
  int first_row;              // at which `map` begins
  long picture_stride;        // floats
  long channel_block_stride;  // floats
  TileGrid grid;
  int first_tile;
  TileBlocks blocks;
  int channel_blocks;  // of the map
  int first_channel_block, end_channel_block;
  float* transformed;
  long plane;  // floats between two xi
};

// One xi and one panel: products[tile][output] = sum over channels of transformed[tile][channel] *
// filters[channel][output]
struct Multiply {
  const float* transformed;
  TileBlocks blocks;
  int channels, channel_blocks;
  const float* filters;
  int vectors;  // 1 or 2: how many of the panel's are in use
  float* products;
  // What is read after this panel of filters and, unless null, after these tiles: it is fetched
  // meanwhile.
  const float* next_filters;
  const float* next_transformed;
};

// One panel.
struct OutputTransform {
  const float* products;
  long plane;  // floats between two xi
  TileGrid grid;
  int first_tile, tiles;
  int channel;  // the panel's first
  int vectors;
  const float* bias;  // the panel's; at least two vectors long
  bool relu, pool;    // pool: 2x2 max pooling, stride 2, a last odd row or column is dropped
  float* map;         // [picture][channels / 16][height or height / 2][...][16]
  long picture_stride;
};

// One row of outputs of the first layer (3x3 over 3 channels), or the row that is pooled from two.
struct FirstLayer {
  const float* rows;  // [3 or 4][width + 2][3], normalised, zeros around
  int width;
  int channels;
  const float* filters;  // [panel][tap = (ky, kx, channel)][2 vectors]
  const float* bias;     // as long as the panels
  bool relu, pool;
  float* line;  // scratch [1 or 2][width][2 vectors]
  float* map;   // where the row begins in channel block 0
  long channel_block_stride;
};

// How the weights of a block of outputs lie. A segment is Kernels::linear_panels panels, which are
// summed at a time; the last has what is left.
//   float32   [feature][segment][panel][outputs]
//   bfloat16  The same; the two vectors of a panel are interleaved, and a shift and a mask widen them.
//   float28   The numbers of float32 in seven eighths of the memory. The weights of a feature for a
//             group of outputs are of about the same size, so four bits of exponent do, counted
//             from the group's own: words [feature][group][7 vectors], exponents [feature][group].
//             The eighth vector's bits lie where the other seven need none. Exponent zero is zero;
//             so are the outliers, which do not fit and are kept aside. Segments are whole.
enum class LinearFormat { float32, bfloat16, float28 };
constexpr int linear_formats = 3;

// Of outputs, in vectors.
constexpr int float28_group = 8;

// The bits of a word of float28: sign, four bits of the eighth vector, exponent, fraction. Its own
// bits are a float32; 2^(e - 127), where e is the group's exponent, is what it is multiplied by.
constexpr unsigned float28_own = 0x87ffffff, float28_foreign = 0x78000000;
constexpr int float28_foreign_shift = 27;
constexpr int largest_group_exponent = 254;

// A weight that float28 cannot hold.
struct Outlier {
  unsigned short feature;  // of the chunk
  unsigned short output;   // of the segment
  float weight;
};

// Of a segment.
struct Outliers {
  const Outlier* all;
  const unsigned* starts;  // of each chunk, and the end
};

// Some outputs of y = W x + b for several vectors x. A weight that is multiplied by zero is not
// read: what goes into a linear layer has mostly been through a ReLU, and half of it and more is
// zeros.
struct Linear {
  const void* weights;             // of one block
  const unsigned char* exponents;  // float28
  const Outliers* outliers;        // float28: of each segment
  float* widened;                  // float28: scratch [linear_chunk][outputs of a segment]
  int panels;                      // of the block
  int turn;                        // turn_of(panels, linear_panels)
  int outputs;                     // that are wanted; the block's last panel may have more
  int features;
  bool reads_all;  // also what is multiplied by zero: infinity times zero is NaN
  const float* x;  // [pictures][x_stride]
  long x_stride;
  int pictures;
  const float* bias;
  bool relu;
  float* y;  // [pictures][y_stride]
  long y_stride;
  float* sums;        // scratch [2][pictures][panels][2 vectors]
  float* chunk_sums;  // scratch [panels][2 vectors]
  unsigned* masks;    // scratch [3][pictures]
};

// Features whose products are summed from zero, before they are added to the sum of all others:
// that keeps the rounding small, and the weights of a chunk and a segment stay in the first cache
// while the pictures of a batch go by.
constexpr int linear_chunk = 32;

// The columns of a block are often a power of two long, and the same segment of all of them would
// crowd a few sets of the first cache. So the segments of each column are turned against those of
// the one before: segment s of feature f is at place (s + f) & turn. 0 where they are not: where
// there is one, the last is shorter, or their number is no power of two or larger than a chunk.
static inline int turn_of(int panels, int linear_panels) {
  const int segments = panels / linear_panels;
  const bool is_even = panels % linear_panels == 0 && (segments & (segments - 1)) == 0;
  return is_even && segments >= 1 && segments <= linear_chunk ? segments - 1 : 0;
}

struct Kernels {
  const char* isa;
  int vector;                                         // floats
  int rows;                                           // most tiles in a block
  int linear_panels;                                  // of a segment
  void (*transform_input[4])(const InputTransform&);  // by tile / 2: 1x1 convolution, F2, F4, F6
  void (*multiply)(const Multiply&);
  void (*transform_output[4])(const OutputTransform&);
  void (*first_layer)(const FirstLayer&);
  void (*linear[linear_formats])(const Linear&);
};

#if defined(__x86_64__)
extern const Kernels avx512_kernels;
extern const Kernels avx2_kernels;
#endif
#if defined(__aarch64__)
extern const Kernels neon_kernels;  // every such processor has it
#else
extern const Kernels baseline_kernels;
#endif

}  // namespace vgg
