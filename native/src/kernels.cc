// The inner loops, by GCC's vector extensions. Compiled once for each instruction set with VGG_ISA
// set to avx512, avx2, neon or baseline. No standard headers: an inline function of theirs that is
// compiled for AVX-512 here could be the copy that the linker keeps for everybody.
#include "kernels.h"

#include "cook_toom.h"

#ifndef VGG_ISA
#define VGG_ISA baseline
#endif
#define VGG_JOIN_(a, b) a##b
#define VGG_JOIN(a, b) VGG_JOIN_(a, b)
#define VGG_TEXT_(a) #a
#define VGG_TEXT(a) VGG_TEXT_(a)

namespace vgg {
namespace {

// A register tile of the multiplying kernel is max_rows tiles x 2 vectors: 28 of 32 registers, or
// 12 of 16. Of a linear layer linear_panels are summed at a time: 16 registers, or 8.
#if defined(__AVX512F__)
constexpr int lanes = 16, max_rows = 14, linear_panels = 8;
#elif defined(__AVX__)
constexpr int lanes = 8, max_rows = 6, linear_panels = 4;
#elif defined(__aarch64__)
constexpr int lanes = 4, max_rows = 12, linear_panels = 8;
#else
constexpr int lanes = 4, max_rows = 6, linear_panels = 4;
#endif
constexpr int panel = 2 * lanes;

typedef float Vector __attribute__((vector_size(lanes * 4), may_alias));
typedef unsigned Words __attribute__((vector_size(lanes * 4), may_alias));

#define VGG_INLINE __attribute__((always_inline))

VGG_INLINE inline const Vector& load(const float* from) {
  return *reinterpret_cast<const Vector*>(from);
}
VGG_INLINE inline void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
// NaN stays NaN.
VGG_INLINE inline Vector relu_of(Vector x) { return x < 0.0f ? Vector{} : x; }
VGG_INLINE inline Vector max_of(Vector a, Vector b) { return a < b ? b : a; }

// Loops that are unrolled before anything else is optimised, so that arrays indexed by them live in
// registers.
template <int value_>
struct Index {
  static constexpr int value = value_;
  constexpr operator int() const { return value_; }
};

template <int count, int index = 0, class Body>
VGG_INLINE inline void unrolled(const Body& body) {
  if constexpr (index < count) {
    body(Index<index>{});
    unrolled<count, index + 1>(body);
  }
}

// ---- transforms ----

template <int tile, int taps>
struct Transform {
  using Matrices = CookToom<double, tile, taps>;
  static constexpr Matrices matrices{};
  static constexpr int size = Matrices::size;
  static constexpr int infinity = Matrices::finite;

  // The sum of matrices.input[row][j] * d[j] over j, j + step, ...; zeros and ones cost nothing.
  template <int row, int j, int step>
  VGG_INLINE static Vector add_terms(Vector sum, const Vector (&d)[size]) {
    if constexpr (j < size) {
      constexpr float factor = static_cast<float>(matrices.input[row][j]);
      if constexpr (factor != 0) sum += factor * d[j];
      return add_terms<row, j + step, step>(sum, d);
    } else {
      return sum;
    }
  }

  template <int row, int j, int step>
  VGG_INLINE static Vector terms(const Vector (&d)[size]) {
    constexpr float factor = static_cast<float>(matrices.input[row][j]);
    if constexpr (factor != 0)
      return add_terms<row, j + step, step>(factor * d[j], d);
    else
      return terms<row, j + step, step>(d);
  }

  // B^T d. The rows of p and -p have the same numbers in even columns and opposite ones in odd
  // columns.
  VGG_INLINE static void input(const Vector (&d)[size], Vector (&out)[size]) {
    if constexpr (Matrices::finite > 0) out[0] = terms<0, 0, 2>(d);
    unrolled<Matrices::pairs>([&](auto pair) VGG_INLINE {
      constexpr int row = 2 * pair.value + 1;
      const Vector even = terms<row, 0, 2>(d);
      const Vector odd = terms<row, 1, 2>(d);
      out[row] = even + odd;
      out[row + 1] = even - odd;
    });
    if constexpr (Matrices::finite > 0)
      out[infinity] = terms<infinity, 1, 2>(d);
    else
      out[infinity] = d[0];
  }

  // A^T m. The columns of p and -p are the same in even rows and opposite in odd rows.
  VGG_INLINE static void output(const Vector (&m)[size], Vector (&out)[tile]) {
    Vector sums[Matrices::pairs + 1], differences[Matrices::pairs + 1];
    unrolled<Matrices::pairs>([&](auto pair) VGG_INLINE {
      sums[pair] = m[2 * pair + 1] + m[2 * pair + 2];
      differences[pair] = m[2 * pair + 1] - m[2 * pair + 2];
    });
    unrolled<tile>([&](auto row) VGG_INLINE {
      if constexpr (Matrices::finite == 0) {
        out[row] = m[0];
      } else {
        const Vector(&parts)[Matrices::pairs + 1] = row % 2 == 0 ? sums : differences;
        Vector sum = row == 0 ? m[0] + parts[0] : parts[0];
        unrolled<Matrices::pairs - 1>([&](auto pair) VGG_INLINE {
          constexpr float factor =
              static_cast<float>(matrices.output[row.value][2 * pair.value + 3]);
          sum += factor * parts[pair + 1];
        });
        out[row] = row == tile - 1 ? sum + m[infinity] : sum;
      }
    });
  }
};

// One tile of one vector of channels. Border: some of its pixels lie outside of the map and are
// zeros.
template <int tile, int taps, bool border>
VGG_INLINE inline void transform_tile(const float* corner, const TileGrid& grid, int y0, int x0,
                                      float* out, long plane) {
  using T = Transform<tile, taps>;
  constexpr int size = T::size;
  Vector rows[size][size];  // d B
  for (int y = 0; y < size; ++y) {
    if (border && (y0 + y < 0 || y0 + y >= grid.height)) {
      for (int x = 0; x < size; ++x) rows[y][x] = Vector{};
      continue;
    }
    const float* line = corner + static_cast<long>(y) * grid.width * channel_block;
    Vector d[size];
    unrolled<size>([&](auto x) VGG_INLINE {
      if (border && (x0 + x < 0 || x0 + x >= grid.width))
        d[x] = Vector{};
      else
        d[x] = load(line + x * channel_block);
    });
    T::input(d, rows[y]);
  }
  for (int x = 0; x < size; ++x) {
    Vector d[size], column[size];
    unrolled<size>([&](auto y) VGG_INLINE { d[y] = rows[y][x]; });
    T::input(d, column);
    unrolled<size>([&](auto y) VGG_INLINE { store(out + (y * size + x) * plane, column[y]); });
  }
}

template <int tile, int taps>
void transform_input(const InputTransform& job) {
  constexpr int size = tile + taps - 1;
  constexpr int pad = (taps - 1) / 2;
  const TileGrid& grid = job.grid;
  for (int block = 0; block < job.blocks.count; ++block) {
    const int start = block_start(job.blocks, block);
    const int rows = block_start(job.blocks, block + 1) - start;
    for (int channels = job.first_channel_block; channels < job.end_channel_block; ++channels) {
      float* out =
          job.transformed +
          (static_cast<long>(start) * job.channel_blocks + channels * rows) * channel_block;
      for (int row = 0; row < rows; ++row, out += channel_block) {
        const int index = job.first_tile + start + row;
        const int picture = index / (grid.down * grid.across);
        const int place = index % (grid.down * grid.across);
        const int y0 = place / grid.across * tile - pad;
        const int x0 = place % grid.across * tile - pad;
        const float* corner =
            job.map + picture * job.picture_stride + channels * job.channel_block_stride +
            (static_cast<long>(y0 - job.first_row) * grid.width + x0) * channel_block;
        const bool inside =
            y0 >= 0 && x0 >= 0 && y0 + size <= grid.height && x0 + size <= grid.width;
        for (int lane = 0; lane < channel_block; lane += lanes) {
          if (inside)
            transform_tile<tile, taps, false>(corner + lane, grid, y0, x0, out + lane, job.plane);
          else
            transform_tile<tile, taps, true>(corner + lane, grid, y0, x0, out + lane, job.plane);
        }
      }
    }
  }
}

// One tile of one vector of outputs: A^T m A, then pooling, bias and ReLU. Adding the bias after
// the pooling gives the same numbers, since rounding keeps the order.
template <int tile, int taps, bool pool>
VGG_INLINE inline void finish_tile(const float* products, long plane, Vector bias, bool relu,
                                   float* map, int height, int width, int y0, int x0) {
  using T = Transform<tile, taps>;
  constexpr int size = T::size;
  constexpr int side = pool ? tile / 2 : tile;
  Vector columns[tile][size];  // A^T m
  for (int x = 0; x < size; ++x) {
    Vector m[size], column[tile];
    unrolled<size>([&](auto y) VGG_INLINE { m[y] = load(products + (y * size + x) * plane); });
    T::output(m, column);
    unrolled<tile>([&](auto y) VGG_INLINE { columns[y][x] = column[y]; });
  }
  const int rows = height - y0 < side ? height - y0 : side;
  const int across = width - x0 < side ? width - x0 : side;
  for (int y = 0; y < rows; ++y) {
    Vector line[tile], out[side];
    if constexpr (pool) {
      Vector below[tile];
      T::output(columns[2 * y], line);
      T::output(columns[2 * y + 1], below);
      unrolled<side>([&](auto x) VGG_INLINE {
        out[x] =
            max_of(max_of(line[2 * x], line[2 * x + 1]), max_of(below[2 * x], below[2 * x + 1])) +
            bias;
      });
    } else {
      T::output(columns[y], line);
      unrolled<side>([&](auto x) VGG_INLINE { out[x] = line[x] + bias; });
    }
    if (relu) unrolled<side>([&](auto x) VGG_INLINE { out[x] = relu_of(out[x]); });
    float* to = map + (static_cast<long>(y0 + y) * width + x0) * channel_block;
    unrolled<side>([&](auto x) VGG_INLINE {
      if (x < across) store(to + x * channel_block, out[x]);
    });
  }
}

template <int tile, int taps, bool pool>
void transform_output_as(const OutputTransform& job) {
  const TileGrid& grid = job.grid;
  constexpr int side = pool ? tile / 2 : tile;
  const int height = pool ? grid.height / 2 : grid.height;
  const int width = pool ? grid.width / 2 : grid.width;
  const long block_plane = static_cast<long>(height) * width * channel_block;
  for (int index = 0; index < job.tiles; ++index) {
    const int picture = (job.first_tile + index) / (grid.down * grid.across);
    const int place = (job.first_tile + index) % (grid.down * grid.across);
    const int y0 = place / grid.across * side;
    const int x0 = place % grid.across * side;
    if (y0 >= height || x0 >= width) continue;  // only the odd row or column that pooling drops
    for (int vector = 0; vector < job.vectors; ++vector) {
      const int channel = job.channel + vector * lanes;
      float* map = job.map + picture * job.picture_stride + channel / channel_block * block_plane +
                   channel % channel_block;
      finish_tile<tile, taps, pool>(
          job.products + static_cast<long>(index) * panel + vector * lanes, job.plane,
          load(job.bias + vector * lanes), job.relu, map, height, width, y0, x0);
    }
  }
}

template <int tile, int taps>
void transform_output(const OutputTransform& job) {
  if constexpr (tile % 2 == 0) {
    if (job.pool) return transform_output_as<tile, taps, true>(job);
  }
  transform_output_as<tile, taps, false>(job);
}

// ---- multiplication ----

constexpr int floats_in_line = 16;

// Memory that is fetched as `count` streams of `stride` floats each, a line of each at a time: for
// one stream the hardware keeps too few lines under way.
struct Lines {
  const float* from;
  int count;
  long stride;

  VGG_INLINE void next() {
    const float* line = from;
    for (int stream = 0; stream < count; ++stream, line += stride) __builtin_prefetch(line, 0, 2);
    from += floats_in_line;
  }
};

struct Fetch {
  Lines filters, transformed;
};

// `rows` tiles x `vectors` vectors of outputs stay in registers while the channels go by; per
// channel each of the rows' inputs is broadcast and each of the vectors' filters is loaded once.
// With every four channels a few cache lines of what comes next are fetched: a core that waits for
// it where it is needed has half of its speed.
template <int rows, int vectors>
void multiply_block(const float* transformed, int channels, const float* filters, float* products,
                    Fetch fetch) {
  Vector sums[rows][vectors] = {};
  const auto step = [&](const float* input, const float* filter) VGG_INLINE {
    Vector weights[vectors];
    unrolled<vectors>([&](auto v) VGG_INLINE { weights[v] = load(filter + v * lanes); });
    unrolled<rows>([&](auto r) VGG_INLINE {
      const float value = input[r * channel_block];
      unrolled<vectors>([&](auto v) VGG_INLINE { sums[r][v] += value * weights[v]; });
    });
  };
  for (; channels >= channel_block; channels -= channel_block) {
    for (int channel = 0; channel < channel_block; channel += 4) {
      fetch.filters.next();
      fetch.transformed.next();
      unrolled<4>([&](auto c) VGG_INLINE { step(transformed + channel + c, filters + c * panel); });
      filters += 4 * panel;
    }
    transformed += rows * channel_block;
  }
  for (int channel = 0; channel < channels; ++channel)
    step(transformed + channel, filters + channel * panel);
  unrolled<rows>([&](auto r) VGG_INLINE {
    unrolled<vectors>([&](auto v)
                          VGG_INLINE { store(products + r * panel + v * lanes, sums[r][v]); });
  });
}

using MultiplyBlock = void (*)(const float*, int, const float*, float*, Fetch);

template <int vectors>
struct MultiplyBlocks {
  MultiplyBlock of_rows[max_rows + 1] = {};
  constexpr MultiplyBlocks() { fill<1>(); }
  template <int rows>
  constexpr void fill() {
    of_rows[rows] = multiply_block<rows, vectors>;
    if constexpr (rows < max_rows) fill<rows + 1>();
  }
};

constexpr MultiplyBlocks<1> multiply_one_vector{};
constexpr MultiplyBlocks<2> multiply_two_vectors{};

void multiply(const Multiply& job) {
  // Each block fetches its share of the next panel. A stream has a line for every four channels.
  constexpr int streams_of_panel = 4 * panel / floats_in_line;
  const int streams = (streams_of_panel + job.blocks.count - 1) / job.blocks.count;
  const long stride = static_cast<long>(job.channels) / 4 * floats_in_line;
  for (int block = 0; block < job.blocks.count; ++block) {
    const long start = block_start(job.blocks, block);
    const int rows = block_start(job.blocks, block + 1) - static_cast<int>(start);
    const MultiplyBlock run =
        (job.vectors == 1 ? multiply_one_vector.of_rows : multiply_two_vectors.of_rows)[rows];
    const long offset = start * job.channel_blocks * channel_block;
    const float* next_transformed = job.next_transformed ? job.next_transformed + offset : nullptr;
    const Fetch fetch{{job.next_filters + block * streams * stride, streams, stride},
                      {next_transformed, next_transformed ? (rows + 3) / 4 : 0, stride}};
    run(job.transformed + offset, job.channels, job.filters, job.products + start * panel, fetch);
  }
}

// ---- first layer ----

// `pixels` neighbours x 2 vectors of outputs, 27 taps.
template <int pixels>
void first_layer_block(const float* row, long row_stride, const float* filters, float* line) {
  Vector sums[pixels][2] = {};
  for (int ky = 0; ky < 3; ++ky, row += row_stride) {
    unrolled<9>([&](auto tap) VGG_INLINE {
      const Vector weights[2] = {load(filters + tap * panel), load(filters + tap * panel + lanes)};
      unrolled<pixels>([&](auto pixel) VGG_INLINE {
        const float value = row[pixel * 3 + tap];
        sums[pixel][0] += value * weights[0];
        sums[pixel][1] += value * weights[1];
      });
    });
    filters += 9 * panel;
  }
  unrolled<pixels>([&](auto pixel) VGG_INLINE {
    store(line + pixel * panel, sums[pixel][0]);
    store(line + pixel * panel + lanes, sums[pixel][1]);
  });
}

void first_layer(const FirstLayer& job) {
  const long row_stride = (job.width + 2) * 3;
  const int rows = job.pool ? 2 : 1;
  const long line_length = static_cast<long>(job.width) * panel;
  for (int channel = 0; channel < job.channels; channel += panel) {
    const float* filters = job.filters + channel * 27;
    for (int y = 0; y < rows; ++y) {
      const float* row = job.rows + y * row_stride;
      float* line = job.line + y * line_length;
      int x = 0;
      for (; x + max_rows <= job.width; x += max_rows)
        first_layer_block<max_rows>(row + x * 3, row_stride, filters, line + x * panel);
      for (; x < job.width; ++x)
        first_layer_block<1>(row + x * 3, row_stride, filters, line + x * panel);
    }
    for (int vector = 0; vector < 2 && channel + vector * lanes < job.channels; ++vector) {
      const int output = channel + vector * lanes;
      const Vector bias = load(job.bias + output);
      const float* line = job.line + vector * lanes;
      float* to =
          job.map + output / channel_block * job.channel_block_stride + output % channel_block;
      const int width = job.pool ? job.width / 2 : job.width;
      for (int x = 0; x < width; ++x) {
        Vector value;
        if (job.pool) {
          const float* above = line + 2 * x * panel;
          const float* below = above + line_length;
          value = max_of(max_of(load(above), load(above + panel)),
                         max_of(load(below), load(below + panel))) +
                  bias;
        } else {
          value = load(line + x * panel) + bias;
        }
        store(to + static_cast<long>(x) * channel_block, job.relu ? relu_of(value) : value);
      }
    }
  }
}

// ---- linear ----

struct Float32 {
  using Number = float;
  VGG_INLINE static void load_panel(const Number* from, Vector (&to)[2]) {
    to[0] = load(from);
    to[1] = load(from + lanes);
  }
};

struct Bfloat16 {
  using Number = unsigned short;
  VGG_INLINE static void load_panel(const Number* from, Vector (&to)[2]) {
    const Words pairs = *reinterpret_cast<const Words*>(from);
    to[0] = reinterpret_cast<Vector>(pairs << 16);
    to[1] = reinterpret_cast<Vector>(pairs & 0xffff0000u);
  }
};

// Is widened to float32 before it is read.
struct Float28 : Float32 {};

// One segment of the outputs of one picture, and one chunk of features.
template <class Number>
struct Columns {
  const Number* weights;  // of the chunk's first feature; of the segment, if they are not turned
  long stride;            // numbers between the columns of two features
  int segment, turn;
  const float* x;
  unsigned mask;  // a bit for each feature that is read
  float* sums;
  // Of the next chunk, what is fetched into the second cache meanwhile.
  unsigned next_mask;
  bool fetches_slowly;
};

VGG_INLINE inline int take_lowest(unsigned& mask) {
  const int bit = __builtin_ctz(mask);
  mask &= mask - 1;
  return bit;
}

template <int lines>
VGG_INLINE inline void fetch_lines(const char* from) {
  unrolled<lines>([&](auto line) VGG_INLINE { __builtin_prefetch(from + line * 64, 0, 2); });
}

// sums += W[...][chunk] * x[chunk]. What is added, and in which order, depends on nothing but x.
template <class Weights, int panels>
void add_columns(Columns<typename Weights::Number> job) {
  using Number = typename Weights::Number;
  const auto column = [&](int feature) VGG_INLINE {
    return job.weights + feature * job.stride +
           ((job.segment + feature) & job.turn) * panels * panel;
  };
  Vector sums[2 * panels] = {};
  const auto step = [&]() VGG_INLINE {
    const int feature = take_lowest(job.mask);
    const Number* from = column(feature);
    const float value = job.x[feature];
    unrolled<panels>([&](auto p) VGG_INLINE {
      Vector weights[2];
      Weights::load_panel(from + p * panel, weights);
      sums[2 * p] += value * weights[0];
      sums[2 * p + 1] += value * weights[1];
    });
  };
  constexpr int lines = (panels * panel * sizeof(Number) + 63) / 64;
  const auto next_column = [&]() VGG_INLINE {
    return reinterpret_cast<const char*>(column(linear_chunk + take_lowest(job.next_mask)));
  };
  // A picture of a batch has less to fetch than to read: a quarter of a column with each that it
  // reads, lest it wait for all of it first and then for nothing.
  if (job.fetches_slowly)
    while (job.mask != 0 && job.next_mask != 0) {
      constexpr int some = (lines + 3) / 4;
      const char* from = next_column();
      for (int line = 0; line < lines; line += some) {
        fetch_lines<some>(from + line * 64);
        if (job.mask != 0) step();
      }
    }
  while (job.mask != 0 && job.next_mask != 0) {
    fetch_lines<lines>(next_column());
    step();
  }
  while (job.mask != 0) step();
  while (job.next_mask != 0) fetch_lines<lines>(next_column());
  unrolled<2 * panels>([&](auto v) VGG_INLINE {
    store(job.sums + v * lanes, load(job.sums + v * lanes) + sums[v]);
  });
}

template <class Weights>
struct AddColumns {
  using Add = void (*)(Columns<typename Weights::Number>);
  Add of_panels[linear_panels + 1] = {};
  constexpr AddColumns() { fill<1>(); }
  template <int panels>
  constexpr void fill() {
    of_panels[panels] = add_columns<Weights, panels>;
    if constexpr (panels < linear_panels) fill<panels + 1>();
  }
};

// A bit for each of the `count` features at x that is not zero.
VGG_INLINE inline unsigned mask_of(const float* x, int count) {
  unsigned mask = 0;
  if (count < linear_chunk) {
    for (int i = 0; i < count; ++i) mask |= static_cast<unsigned>(x[i] != 0) << i;
    return mask;
  }
  Words bits, sum = {};
  for (int i = 0; i < lanes; ++i) bits[i] = 1u << i;
  unrolled<linear_chunk / lanes>([&](auto part) VGG_INLINE {
    sum |= reinterpret_cast<Words>(load(x + part * lanes) != 0.0f) & bits << part * lanes;
  });
  unrolled<lanes>([&](auto i) VGG_INLINE { mask |= sum[i.value]; });
  return mask;
}

// Of every picture, for the chunk at `first`; returns what any of them has.
unsigned fill_masks(const Linear& job, int first, unsigned* masks) {
  const int left = job.features - first;
  const int count = left < linear_chunk ? left : linear_chunk;
  const unsigned all = ~0u >> (linear_chunk - count);
  unsigned any = 0;
  for (int picture = 0; picture < job.pictures; ++picture) {
    masks[picture] = job.reads_all ? all : mask_of(job.x + picture * job.x_stride + first, count);
    any |= masks[picture];
  }
  return any;
}

// Features whose chunks are added up before they are added to the total: the more numbers are added
// one after the other, the more is lost to rounding.
constexpr int features_of_sum = 16 * linear_chunk;

// From how many pictures on they fetch slowly.
constexpr int slow_pictures = 4;

// One chunk of features. Of the next one each picture fetches the columns of some features.
struct Chunk {
  int first;
  unsigned any, next;      // features that some picture reads, here and in the next chunk
  const unsigned* masks;   // of each picture
  const unsigned* shares;  // of each picture in the next chunk
  float* sums;             // [picture][outputs of the block]
};

template <class Weights>
struct AddChunk {
  using Number = typename Weights::Number;

  static void run(const Linear& job, const Chunk& chunk) {
    static constexpr AddColumns<Weights> add{};
    const long width = static_cast<long>(job.panels) * panel;
    const Number* weights = static_cast<const Number*>(job.weights) + chunk.first * width;
    for (int segment = 0; segment * linear_panels < job.panels; ++segment) {
      const int panels_before = segment * linear_panels, left = job.panels - panels_before;
      const auto run = add.of_panels[left < linear_panels ? left : linear_panels];
      Columns<Number> columns{};
      columns.weights = weights + (job.turn == 0 ? panels_before * panel : 0);
      columns.stride = width;
      columns.segment = segment;
      columns.turn = job.turn;
      columns.fetches_slowly = job.pictures >= slow_pictures;
      for (int picture = 0; picture < job.pictures; ++picture) {
        columns.x = job.x + picture * job.x_stride + chunk.first;
        columns.mask = chunk.masks[picture];
        columns.next_mask = chunk.next & chunk.shares[picture];
        columns.sums = chunk.sums + picture * width + panels_before * panel;
        run(columns);
      }
    }
  }
};

// ---- linear, weights in float28 ----

constexpr int words_of_group = (float28_group - 1) * lanes;
constexpr int groups_of_segment = 2 * linear_panels / float28_group;

// The groups of one feature.
struct Column {
  const unsigned* words;
  const unsigned char* exponents;

  VGG_INLINE Column(const Linear& job, long feature) {
    const long place = feature * (2 * job.panels / float28_group);
    words = static_cast<const unsigned*>(job.weights) + place * words_of_group;
    exponents = job.exponents + place;
  }
  VGG_INLINE void fetch(long group) const {
    fetch_lines<(words_of_group * 4 + 63) / 64>(
        reinterpret_cast<const char*>(words + group * words_of_group));
  }
};

// Calls take(index, vector) with the eight vectors of a group. A power of two brings their
// exponents to where they belong, exactly.
template <class Take>
VGG_INLINE inline void widen(const Column& column, long group, const Take& take) {
  const unsigned scale_bits = static_cast<unsigned>(column.exponents[group]) << 23;
  float scale;
  __builtin_memcpy(&scale, &scale_bits, sizeof scale);
  const unsigned* from = column.words + group * words_of_group;
  Words last = {};
  unrolled<float28_group - 1>([&](auto i) VGG_INLINE {
    const Words words = *reinterpret_cast<const Words*>(from + i * lanes);
    last = (words & float28_foreign) | last >> 4;
    take(i, reinterpret_cast<Vector>(words & float28_own) * scale);
  });
  // The 28 bits begin at bit 3: sign, exponent, fraction.
  last = (last << 1 & 0x80000000u) | (last >> 3 & 0x07ffffffu);
  take(Index<float28_group - 1>{}, reinterpret_cast<Vector>(last) * scale);
}

// sums += W[...][feature] * x[feature] of `count` features, one after the other; of as many others
// the columns are fetched into the second cache meanwhile. From end to end columns are read faster
// than in pieces, and a single picture reads each of them once.
template <int... index>
VGG_INLINE inline void add_whole_columns(const Linear& job, const int* features, const int* fetched,
                                         float* sums) {
  constexpr int count = sizeof...(index);
  const Column columns[count] = {{job, features[index]}...};
  const Column others[count] = {{job, fetched[index]}...};
  const float values[count] = {job.x[features[index]]...};
  const long groups = 2 * job.panels / float28_group;
  for (long group = 0; group < groups; ++group, sums += float28_group * lanes) {
    Vector totals[float28_group];
    unrolled<float28_group>([&](auto v) VGG_INLINE { totals[v] = load(sums + v * lanes); });
    unrolled<count>([&](auto i) VGG_INLINE {
      others[i].fetch(group);
      widen(columns[i], group,
            [&](auto v, Vector weights) VGG_INLINE { totals[v] += values[i.value] * weights; });
    });
    unrolled<float28_group>([&](auto v) VGG_INLINE { store(sums + v * lanes, totals[v]); });
  }
}

template <>
struct AddChunk<Float28> {
  // To the bit what of_batch() makes of one picture.
  static void of_one(const Linear& job, const Chunk& chunk) {
    constexpr int at_once = 4;
    const long width = static_cast<long>(job.panels) * panel;
    float* const sums = job.chunk_sums;
    for (long i = 0; i < width; i += lanes) store(sums + i, Vector{});
    int features[2 * linear_chunk + at_once];
    int count = 0;
    for (unsigned mask = chunk.any; mask != 0;) features[count++] = chunk.first + take_lowest(mask);
    int all = count;
    for (unsigned mask = chunk.next; mask != 0;)
      features[all++] = chunk.first + linear_chunk + take_lowest(mask);
    // Whatever is fetched for want of others has been read already.
    for (int i = 0; i < at_once; ++i) features[all + i] = chunk.first;
    int i = 0;
    for (; i + at_once <= count; i += at_once)
      add_whole_columns<0, 1, 2, 3>(job, features + i, features + i + at_once, sums);
    for (; i < count; ++i) add_whole_columns<0>(job, features + i, features + i + at_once, sums);
    for (long i = 0; i < width; i += lanes)
      store(chunk.sums + i, load(chunk.sums + i) + load(sums + i));
    for (int segment = 0; segment * linear_panels < job.panels; ++segment)
      add_outliers(job, chunk, segment, 0);
  }

  static void of_batch(const Linear& job, const Chunk& chunk) {
    static constexpr AddColumns<Float28> add{};
    const long width = static_cast<long>(job.panels) * panel;
    for (int segment = 0; segment * linear_panels < job.panels; ++segment) {
      widen_segment(job, chunk, segment);
      Columns<float> columns{};
      columns.weights = job.widened;
      columns.stride = linear_panels * panel;
      for (int picture = 0; picture < job.pictures; ++picture) {
        columns.x = job.x + picture * job.x_stride + chunk.first;
        columns.mask = chunk.masks[picture];
        columns.sums = chunk.sums + picture * width + segment * linear_panels * panel;
        add.of_panels[linear_panels](columns);
        add_outliers(job, chunk, segment, picture);
      }
    }
  }

  static void run(const Linear& job, const Chunk& chunk) {
    (job.pictures == 1 ? of_one : of_batch)(job, chunk);
  }

 private:
  // The columns that some picture reads, and those of the next chunk into the second cache.
  static void widen_segment(const Linear& job, const Chunk& chunk, int segment) {
    unsigned mask = chunk.any, next = chunk.next;
    const long first_group = segment * groups_of_segment;
    const auto fetch_next = [&]() VGG_INLINE {
      const long feature = chunk.first + linear_chunk + take_lowest(next);
      const Column column(job, feature);
      unrolled<groups_of_segment>([&](auto group)
                                      VGG_INLINE { column.fetch(first_group + group); });
    };
    while (mask != 0) {
      if (next != 0) fetch_next();
      const int feature = take_lowest(mask);
      const Column column(job, chunk.first + feature);
      float* to = job.widened + feature * linear_panels * panel;
      unrolled<groups_of_segment>([&](auto group) VGG_INLINE {
        widen(column, first_group + group, [&](auto v, Vector weights) VGG_INLINE {
          store(to + (group.value * float28_group + v.value) * lanes, weights);
        });
      });
    }
    while (next != 0) fetch_next();
  }

  // Whether x is zero or not: infinity times zero is NaN.
  static void add_outliers(const Linear& job, const Chunk& chunk, int segment, int picture) {
    const Outliers& outliers = job.outliers[segment];
    const int index = chunk.first / linear_chunk;
    const float* x = job.x + picture * job.x_stride + chunk.first;
    float* sums =
        chunk.sums + (picture * static_cast<long>(job.panels) + segment * linear_panels) * panel;
    for (unsigned i = outliers.starts[index]; i < outliers.starts[index + 1]; ++i)
      sums[outliers.all[i].output] += x[outliers.all[i].feature] * outliers.all[i].weight;
  }
};

// ---- linear, all formats ----

template <class Weights>
void linear(const Linear& job) {
  const long width = static_cast<long>(job.panels) * panel;
  // Of the features that are added to the totals next, and of all before.
  const long count = job.pictures * width;
  float* const sums = job.sums;
  float* const totals = job.sums + count;
  for (long i = 0; i < 2 * count; i += lanes) store(job.sums + i, Vector{});
  unsigned* masks = job.masks;
  unsigned* next_masks = job.masks + job.pictures;
  unsigned* const shares = job.masks + 2 * job.pictures;
  const auto below = [&](long picture) {
    return (1ull << picture * linear_chunk / job.pictures) - 1;
  };
  for (int picture = 0; picture < job.pictures; ++picture)
    shares[picture] = static_cast<unsigned>(below(picture + 1) & ~below(picture));
  unsigned next = fill_masks(job, 0, next_masks);
  for (int first = 0; first < job.features; first += linear_chunk) {
    unsigned* const filled = next_masks;
    next_masks = masks;
    masks = filled;
    const unsigned any = next;
    const int end = first + linear_chunk;
    next = end < job.features ? fill_masks(job, end, next_masks) : 0;
    AddChunk<Weights>::run(job, {first, any, next, masks, shares, sums});
    if (end < job.features && end % features_of_sum != 0) continue;
    for (long i = 0; i < count; i += lanes) {
      store(totals + i, load(totals + i) + load(sums + i));
      store(sums + i, Vector{});
    }
  }
  for (int picture = 0; picture < job.pictures; ++picture)
    for (int output = 0; output < job.outputs; ++output) {
      const float value = totals[picture * width + output] + job.bias[output];
      job.y[picture * job.y_stride + output] = job.relu && value < 0 ? 0 : value;
    }
}

}  // namespace

extern const Kernels VGG_JOIN(VGG_ISA, _kernels) = {
    VGG_TEXT(VGG_ISA),
    lanes,
    max_rows,
    linear_panels,
    {transform_input<1, 1>, transform_input<2, 3>, transform_input<4, 3>, transform_input<6, 3>},
    multiply,
    {transform_output<1, 1>, transform_output<2, 3>, transform_output<4, 3>,
     transform_output<6, 3>},
    first_layer,
    {linear<Float32>, linear<Bfloat16>, linear<Float28>},
};

}  // namespace vgg
