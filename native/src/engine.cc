#include "engine.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "bf16_engine.h"
#include "isa.h"
#include "memory.h"
#include "pack.h"
#include "plan.h"
#include "team.h"

namespace vgg {
namespace {

// What one thread holds at a time, in floats. Where filters are small each thread takes some tiles
// through all panels, and tiles and products stay in its cache. Where they are large each takes
// some panels of outputs for as many tiles as can be, so that filters are read less often.
struct Budget {
  long transformed, products;
};
constexpr Budget small_budget{1 << 18, 1 << 17};
constexpr Budget large_budget{1 << 20, 1 << 20};
constexpr long small_filters = 5 << 18;

// Maps of more pixels go through picture by picture: the tiles of one are plenty for the kernels,
// and the maps of a whole batch would take much memory. Smaller ones go through as a batch: their
// filters are large and read once.
constexpr long largest_batched_map = 1024;

constexpr int first_layer_rows = 8;  // of outputs, at a time: as many as a row of tiles F6 reads

int rounded_up(long count, int unit) { return static_cast<int>((count + unit - 1) / unit * unit); }
int divided_up(long count, long by) { return static_cast<int>((count + by - 1) / by); }

class WinogradEngine final : public Engine {
 public:
  explicit WinogradEngine(const Spec& spec)
      : spec_(spec),
        kernels_(*choose_kernels(spec.isa ? spec.isa : "")),
        steps_(make_plan(spec)),
        panel_(2 * kernels_.vector),
        team_(spec.threads),
        normalisation_(spec.mean, spec.std) {
    spec_.isa = nullptr;  // the caller's
    pack();
    spec_.forget = nullptr;  // the caller's too
    reserve();
  }

  void run(const uint8_t* pixels, int n, float* logits) override {
    if (n < 1 || n > spec_.max_batch) {
      throw std::runtime_error("a batch of " + std::to_string(n) + " pictures; allowed are 1 to " +
                               std::to_string(spec_.max_batch));
    }
    if (spec_.profile) {
      ms_.assign(steps_.size(), 0);
      last_end_ = Clock::now();
    }
    team_.run([&](int thread) { work(thread, pixels, n); });
    const size_t stride = map_size(steps_.back().out);
    const float* last = batch_maps_[steps_.size() % 2].data();
    for (int picture = 0; picture < n; ++picture)
      std::copy_n(last + picture * stride, spec_.classes,
                  logits + static_cast<size_t>(picture) * spec_.classes);
  }

  const char* isa() const override { return kernels_.isa; }

  std::string plan() const override {
    std::string text = "{\"isa\":\"" + std::string(isa()) + "\",\"precision\":\"" +
                       name_of(spec_.precision) + "\",\"threads\":" + std::to_string(team_.size()) +
                       ",\"layers\":[";
    for (size_t i = 0; i < steps_.size(); ++i) {
      text += (i > 0 ? "," : "") + describe(steps_[i]);
      if (i == 0 && fuses_first_layer()) text.replace(text.size() - 1, 1, ",\"within_next\":true}");
    }
    return text + "]}";
  }

  std::string times() const override {
    std::string text = "[";
    for (size_t i = 0; i < ms_.size(); ++i) {
      text += (i > 0 ? "," : "") + std::string("{\"layer\":") + std::to_string(steps_[i].layer) +
              ",\"kind\":\"" + kind_of(steps_[i]) + "\",\"ms\":" + std::to_string(ms_[i]) + "}";
    }
    return text + "]";
  }

 private:
  using Clock = std::chrono::steady_clock;

  // ---- what is made once ----

  void pack() {
    packed_.resize(steps_.size());
    linears_.resize(steps_.size());
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      if (step.kind == Step::Kind::linear)
        linears_[i] = pack_linear(spec_, spec_.layers[step.layer], kernels_, team_, arena_);
      if (step.kind != Step::Kind::convolution && step.kind != Step::Kind::first_layer) continue;
      const Layer& conv = spec_.layers[step.layer];
      const Layer* batchnorm = step.batchnorm >= 0 ? &spec_.layers[step.batchnorm] : nullptr;
      packed_[i] = step.kind == Step::Kind::first_layer
                       ? pack_first_layer(conv, batchnorm, kernels_)
                       : pack_winograd(conv, batchnorm, step.tile, kernels_, team_, arena_);
      if (spec_.forget)
        spec_.forget(conv.weight,
                     sizeof(float) * conv.out * conv.in * conv.kernel * conv.kernel);
    }
  }

  void reserve() {
    while (steps_[batched_].in.pixels() > largest_batched_map) ++batched_;
    size_t single[2] = {}, batch[2] = {};  // of the maps between which steps alternate
    size_t transformed = 0, products = 0, line = 0, rows = 0, band = 0, outputs = 0;
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      if (!(i == 0 && fuses_first_layer())) {
        size_t* const maps = i + 1 < batched_ ? single : batch;
        size_t& map = maps[(i + 1) % 2];
        map = std::max(map, map_size(step.out));
      }
      if (step.kind == Step::Kind::first_layer) {
        rows = product({2 * first_layer_rows + 2, step.in.width + 2, 3});
        line = product({2, step.in.width, panel_});
      }
      if (step.kind == Step::Kind::linear)
        outputs = std::max(outputs, product({linears_[i].panels_of_block, panel_}));
      if (step.kind != Step::Kind::convolution) continue;
      product({step.tiles(), spec_.max_batch, 1 << 10});
      if (step.tiles() * spec_.max_batch > INT32_MAX / 2) throw std::bad_alloc();
      transformed = std::max(transformed, transformed_size(step, most_tiles(step, 1)));
      products = std::max(products, products_size(step, most_tiles(step, team_.size()), 1));
    }
    if (fuses_first_layer()) {
      const Step& second = steps_[1];
      band = product({second.in.blocks(), channel_block, second.tile + 2, second.in.width});
      transformed = std::max(transformed, transformed_size(second, second.grid().across));
      products = std::max(products, products_size(second, second.grid().across, 1));
    }
    for (int i = 0; i < 2; ++i) {
      single_maps_[i] = arena_.floats(single[i]);
      batch_maps_[i] = arena_.floats(product({static_cast<long>(batch[i]), spec_.max_batch}));
    }
    transformed = std::max<size_t>(transformed, large_budget.transformed);
    products = std::max<size_t>(products, large_budget.products);
    transformed_ = arena_.floats(product({static_cast<long>(transformed), team_.size()}));
    for (int thread = 0; thread < team_.size(); ++thread) {
      scratch_.push_back({arena_.floats(products), arena_.floats(line), arena_.floats(rows),
                          arena_.floats(product({2, static_cast<long>(outputs), spec_.max_batch})),
                          std::vector<unsigned>(product({3, spec_.max_batch})),
                          arena_.floats(outputs),
                          arena_.floats(product({linear_chunk, kernels_.linear_panels, panel_})),
                          arena_.floats(band)});
    }
  }

  // xi planes are 16 floats longer than they need be: a power of two between them would crowd a few
  // sets of the cache.
  static long transformed_plane(const Step& step, long tiles) {
    return tiles * step.in.blocks() * channel_block + 16;
  }
  long products_plane(long tiles) const { return tiles * panel_ + 16; }
  static size_t transformed_size(const Step& step, long tiles) {
    return product({transformed_plane(step, tiles), step.positions()});
  }
  size_t products_size(const Step& step, long tiles, int panels) const {
    return product({products_plane(tiles), step.positions(), panels});
  }

  long filters_size(const Step& step) const {
    return static_cast<long>(step.positions()) * rounded_up(step.out.channels, panel_) *
           step.in.channels;
  }
  Budget budget_of(const Step& step) const {
    return filters_size(step) <= small_filters ? small_budget : large_budget;
  }

  // Tiles that the budgets of `threads` threads hold: whole blocks of the kernel's rows, or at
  // least one tile.
  int most_tiles(const Step& step, int threads) const {
    const Budget budget = budget_of(step);
    const long by_input =
        (budget.transformed * threads / step.positions() - 16) / (step.in.blocks() * channel_block);
    const long by_output = (budget.products / step.positions() - 16) / panel_;
    const long tiles = std::min(by_input, by_output);
    if (tiles < kernels_.rows) return static_cast<int>(std::max(1L, tiles));
    return static_cast<int>(std::min(tiles / kernels_.rows * kernels_.rows, 1L << 20));
  }

  // ---- a run ----

  struct Scratch {
    Floats products;  // [panel][xi][tile][panel width]
    Floats line;      // first layer: outputs of one panel
    Floats rows;      // first layer: normalised pixels
    Floats sums;      // linear
    std::vector<unsigned> masks;  // linear
    Floats chunk_sums;            // linear
    Floats widened;               // linear: a chunk of a segment in float32
    Floats band;      // the first layer's outputs that one row of tiles reads
  };

  // What every thread does: the large maps picture by picture, the small ones for the whole batch.
  // Maps alternate between two buffers.
  void work(int thread, const uint8_t* pixels, int n) {
    for (int picture = 0; picture < (batched_ > 0 ? n : 0); ++picture) {
      for (size_t i = 0; i < batched_; ++i) {
        float* out = i + 1 < batched_
                         ? single_maps_[(i + 1) % 2].data()
                         : batch_maps_[(i + 1) % 2].data() + picture * map_size(steps_[i].out);
        run_step(i, thread, pixels + picture * picture_bytes(), single_maps_[i % 2].data(), out, 1);
      }
    }
    for (size_t i = batched_; i < steps_.size(); ++i)
      run_step(i, thread, pixels, batch_maps_[i % 2].data(), batch_maps_[(i + 1) % 2].data(), n);
  }

  void run_step(size_t index, int thread, const uint8_t* pixels, const float* in, float* out,
                int pictures) {
    const Step& step = steps_[index];
    switch (step.kind) {
      case Step::Kind::normalise: run_normalise(step, pixels, out, pictures); break;
      case Step::Kind::first_layer:
        if (!fuses_first_layer()) run_first_layer(index, thread, pixels, out, pictures);
        break;
      case Step::Kind::convolution:
        if (index == 1 && fuses_first_layer())
          run_first_two(thread, pixels, out, pictures);
        else
          run_convolution(index, thread, in, out, pictures);
        break;
      case Step::Kind::linear: run_linear(index, thread, in, out, pictures); break;
      case Step::Kind::lrn:
        each(step, step.in.height, in, out, pictures, [&](int row, const float* from, float* to) {
          normalise_response(spec_.layers[step.layer], step.in, row, from, to);
        });
        break;
      case Step::Kind::max_pool:
        each(step, step.in.blocks(), in, out, pictures,
             [&](int block, const float* from, float* to) { max_pool(step.in, block, from, to); });
        break;
      case Step::Kind::average_pool:
        each(step, step.in.blocks(), in, out, pictures,
             [&](int block, const float* from, float* to) {
               average_pool(step.in, step.out, block, from, to);
             });
        break;
      case Step::Kind::flatten:
        each(step, step.in.blocks(), in, out, pictures,
             [&](int block, const float* from, float* to) { flatten(step.in, block, from, to); });
        break;
    }
    team_.barrier();
    if (spec_.profile && thread == 0) {
      const Clock::time_point end = Clock::now();
      ms_[index] += std::chrono::duration<double, std::milli>(end - last_end_).count();
      last_end_ = end;
    }
  }

  // body(part, the picture's input, its output) for all parts of all pictures, shared out among the
  // threads.
  template <class Body>
  void each(const Step& step, int parts, const float* in, float* out, int pictures,
            const Body& body) {
    const size_t in_size = map_size(step.in), out_size = map_size(step.out);
    for (int unit = team_.claim(); unit < parts * pictures; unit = team_.claim()) {
      const int picture = unit / parts;
      body(unit % parts, in + picture * in_size, out + picture * out_size);
    }
  }

  void run_normalise(const Step& step, const uint8_t* pixels, float* out, int pictures) {
    for (int picture = team_.claim(); picture < pictures; picture = team_.claim())
      normalise_map(normalisation_, pixels + picture * picture_bytes(), spec_.input_size,
                    out + picture * map_size(step.out));
  }

  FirstLayer first_layer(int thread, long channel_block_stride) {
    FirstLayer job{};
    job.width = spec_.input_size;
    job.channels = steps_[0].out.channels;
    job.filters = packed_[0].filters.data();
    job.bias = packed_[0].bias.data();
    job.relu = steps_[0].relu;
    job.pool = steps_[0].pool;
    job.line = scratch_[thread].line.data();
    job.channel_block_stride = channel_block_stride;
    return job;
  }

  // The rows [first, end) of the first layer's output; `map` is where the first begins.
  void first_layer_rows_of(FirstLayer job, int thread, const uint8_t* picture, int first, int end,
                           float* map) {
    const Step& step = steps_[0];
    const int size = spec_.input_size;
    const int stride = step.pool ? 2 : 1;  // rows of input for one of output
    float* rows = scratch_[thread].rows.data();
    normalise_rows(normalisation_, picture, size, first * stride - 1, end * stride + 1, rows);
    for (int y = first; y < end; ++y, map += static_cast<long>(step.out.width) * channel_block) {
      job.rows = rows + static_cast<long>(y - first) * stride * (size + 2) * 3;
      job.map = map;
      kernels_.first_layer(job);
    }
  }

  size_t picture_bytes() const { return size_t{3} * spec_.input_size * spec_.input_size; }

  void run_first_layer(size_t index, int thread, const uint8_t* pixels, float* out, int pictures) {
    const Step& step = steps_[index];
    const int units = divided_up(step.out.height, first_layer_rows);
    const FirstLayer job = first_layer(thread, step.out.pixels() * channel_block);
    for (int unit = team_.claim(); unit < units * pictures; unit = team_.claim()) {
      const int picture = unit / units;
      const int first = unit % units * first_layer_rows;
      first_layer_rows_of(job, thread, pixels + picture * picture_bytes(), first,
                          std::min(first + first_layer_rows, step.out.height),
                          out + picture * map_size(step.out) +
                              static_cast<long>(first) * step.out.width * channel_block);
    }
  }

  // The first layer is cheap and its map the largest of all: the convolution behind it computes the
  // rows that it needs, some of them twice, row of tiles by row of tiles, and finds them in the
  // cache.
  bool fuses_first_layer() const {
    if (batched_ < 2 || steps_[0].kind != Step::Kind::first_layer || steps_[0].pool) return false;
    const Step& second = steps_[1];
    return second.kind == Step::Kind::convolution && second.taps() == 3 &&
           filters_size(second) <= small_filters && second.grid().across >= kernels_.rows;
  }

  void run_first_two(int thread, const uint8_t* pixels, float* out, int pictures) {
    const Step& step = steps_[1];
    const TileGrid grid = step.grid();
    const int panels = divided_up(step.out.channels, panel_);
    const int tiles = grid.across;
    const int group = panels_at_a_time(step, tiles, panels);
    float* transformed = transformed_.data() + transformed_.size() / team_.size() * thread;
    float* band = scratch_[thread].band.data();
    const long band_rows = step.tile + 2;
    for (int unit = team_.claim(); unit < grid.down * pictures; unit = team_.claim()) {
      const int picture = unit / grid.down;
      const int first_row = std::max(unit % grid.down * step.tile - 1, 0);
      const int end_row = std::min((unit % grid.down + 1) * step.tile + 1, grid.height);
      first_layer_rows_of(first_layer(thread, band_rows * grid.width * channel_block), thread,
                          pixels + picture * picture_bytes(), first_row, end_row, band);
      InputTransform job = input_transform(step, unit % grid.down * tiles, tiles, transformed);
      job.map = band;
      job.first_row = first_row;
      job.channel_block_stride = band_rows * grid.width * channel_block;
      kernels_.transform_input[step.tile / 2](job);
      for (int panel = 0; panel < panels; panel += group)
        multiply(1, thread, transformed, unit * tiles, tiles, panel,
                 std::min(panel + group, panels), out);
    }
  }

  void run_convolution(size_t index, int thread, const float* in, float* out, int pictures) {
    const Step& step = steps_[index];
    const int tiles = static_cast<int>(step.tiles() * pictures);
    const int panels = divided_up(step.out.channels, panel_);
    if (panels > 1 && (filters_size(step) > small_filters || step.out.channels > tiles))
      share_panels(index, thread, in, out, tiles, panels);
    else
      share_tiles(index, thread, in, out, tiles, panels);
  }

  // Each thread takes some tiles from the map to the map. It reads all filters for them.
  void share_tiles(size_t index, int thread, const float* in, float* out, int tiles, int panels) {
    const Step& step = steps_[index];
    const int most = most_tiles(step, 1);
    const int parts = rounded_up(divided_up(tiles, most), team_.size());
    const int part = std::min(most, rounded_up(divided_up(tiles, parts), kernels_.rows));
    float* transformed = transformed_.data() + transformed_.size() / team_.size() * thread;
    for (int first = team_.claim() * part; first < tiles; first = team_.claim() * part) {
      const int count = std::min(part, tiles - first);
      transform(step, in, first, count, 0, step.in.blocks(), transformed);
      const int group = panels_at_a_time(step, count, panels);
      for (int panel = 0; panel < panels; panel += group)
        multiply(index, thread, transformed, first, count, panel, std::min(panel + group, panels),
                 out);
    }
  }

  // All threads transform the tiles together, then each takes some panels of outputs through to the
  // map.
  void share_panels(size_t index, int thread, const float* in, float* out, int tiles, int panels) {
    const Step& step = steps_[index];
    const int most = most_tiles(step, team_.size());
    const int part =
        std::min(most, rounded_up(divided_up(tiles, divided_up(tiles, most)), kernels_.rows));
    for (int first = 0; first < tiles; first += part) {
      if (first > 0) team_.barrier();
      const int count = std::min(part, tiles - first);
      for (int block = team_.claim(); block < step.in.blocks(); block = team_.claim())
        transform(step, in, first, count, block, block + 1, transformed_.data());
      team_.barrier();
      const int group = panels_at_a_time(step, count, divided_up(panels, team_.size()));
      for (int panel = team_.claim() * group; panel < panels; panel = team_.claim() * group)
        multiply(index, thread, transformed_.data(), first, count, panel,
                 std::min(panel + group, panels), out);
    }
  }

  int panels_at_a_time(const Step& step, int tiles, int most) const {
    const long fitting =
        budget_of(step).products / static_cast<long>(products_size(step, tiles, 1));
    return static_cast<int>(std::clamp(fitting, 1L, static_cast<long>(most)));
  }

  // Of some tiles, all channels.
  InputTransform input_transform(const Step& step, int first, int tiles, float* to) const {
    InputTransform job{};
    job.picture_stride = static_cast<long>(map_size(step.in));
    job.channel_block_stride = step.in.pixels() * channel_block;
    job.grid = step.grid();
    job.first_tile = first;
    job.blocks = blocks_of(tiles);
    job.channel_blocks = job.end_channel_block = step.in.blocks();
    job.transformed = to;
    job.plane = transformed_plane(step, tiles);
    return job;
  }

  void transform(const Step& step, const float* in, int first, int tiles, int block, int end_block,
                 float* to) {
    InputTransform job = input_transform(step, first, tiles, to);
    job.map = in;
    job.first_channel_block = block;
    job.end_channel_block = end_block;
    kernels_.transform_input[step.tile / 2](job);
  }

  // Multiplies some panels xi by xi, and transforms the products.
  void multiply(size_t index, int thread, const float* transformed, int first, int tiles, int panel,
                int end_panel, float* out) {
    const Step& step = steps_[index];
    const PackedConvolution& packed = packed_[index];
    float* products = scratch_[thread].products.data();
    const int panels = divided_up(step.out.channels, panel_);
    const long filters_of_panel = static_cast<long>(step.in.channels) * panel_;
    const long plane = products_plane(tiles);
    const long products_of_panel = plane * step.positions();

    Multiply job{};
    job.blocks = blocks_of(tiles);
    job.channels = step.in.channels;
    job.channel_blocks = step.in.blocks();
    for (int xi = 0; xi < step.positions(); ++xi) {
      job.transformed = transformed + xi * transformed_plane(step, tiles);
      for (int p = panel; p < end_panel; ++p) {
        job.filters =
            packed.filters.data() + (static_cast<long>(xi) * panels + p) * filters_of_panel;
        const bool is_last = p + 1 == end_panel;
        job.next_filters =
            job.filters + (is_last ? panels - (end_panel - panel) + 1 : 1) * filters_of_panel;
        job.next_transformed = is_last && xi + 1 < step.positions()
                                   ? job.transformed + transformed_plane(step, tiles)
                                   : nullptr;
        job.vectors = vectors_of(step, p);
        job.products = products + (p - panel) * products_of_panel + xi * plane;
        kernels_.multiply(job);
      }
    }

    OutputTransform end{};
    end.plane = plane;
    end.grid = step.grid();
    end.first_tile = first;
    end.tiles = tiles;
    end.relu = step.relu;
    end.pool = step.pool;
    end.map = out;
    end.picture_stride = static_cast<long>(map_size(step.out));
    for (int p = panel; p < end_panel; ++p) {
      end.products = products + (p - panel) * products_of_panel;
      end.channel = p * panel_;
      end.vectors = vectors_of(step, p);
      end.bias = packed.bias.data() + end.channel;
      kernels_.transform_output[step.tile / 2](end);
    }
  }

  int vectors_of(const Step& step, int panel) const {
    return step.out.channels - panel * panel_ > kernels_.vector ? 2 : 1;
  }

  TileBlocks blocks_of(int tiles) const { return {tiles, divided_up(tiles, kernels_.rows)}; }

  void run_linear(size_t index, int thread, const float* in, float* out, int pictures) {
    const Step& step = steps_[index];
    const PackedLinear& packed = linears_[index];
    const auto* weights = reinterpret_cast<const char*>(packed.weights.data());
    Linear job{};
    job.features = step.in.channels;
    job.reads_all = packed.reads_all;
    job.x = in;
    job.x_stride = static_cast<long>(map_size(step.in));
    job.pictures = pictures;
    job.relu = step.relu;
    job.y_stride = static_cast<long>(map_size(step.out));
    job.sums = scratch_[thread].sums.data();
    job.chunk_sums = scratch_[thread].chunk_sums.data();
    job.masks = scratch_[thread].masks.data();
    job.widened = scratch_[thread].widened.data();
    const int blocks = divided_up(packed.panels, packed.panels_of_block);
    for (int block = team_.claim(); block < blocks; block = team_.claim()) {
      const int panel = block * packed.panels_of_block, first = panel * panel_;
      const size_t before = static_cast<size_t>(first) * job.features;  // weights
      job.weights = weights + bytes_of(packed.format, before);
      if (packed.format == LinearFormat::float28) {
        job.exponents = packed.exponents.data() + before / (float28_group * kernels_.vector);
        job.outliers = packed.outliers_of_segment.data() + panel / kernels_.linear_panels;
      }
      job.panels = std::min(packed.panels_of_block, packed.panels - panel);
      job.turn = turn_of(job.panels, kernels_.linear_panels);
      job.outputs = std::min(job.panels * panel_, step.out.channels - first);
      job.bias = packed.bias.data() + first;
      job.y = out + first;
      kernels_.linear[static_cast<int>(packed.format)](job);
    }
  }

  static size_t bytes_of(LinearFormat format, size_t weights) {
    switch (format) {
      case LinearFormat::float32: return weights * 4;
      case LinearFormat::bfloat16: return weights * 2;
      case LinearFormat::float28: return weights / float28_group * (float28_group - 1) * 4;
    }
    return 0;
  }

  Spec spec_;
  const Kernels& kernels_;
  std::vector<Step> steps_;
  const int panel_;
  Team team_;
  Normalisation normalisation_;
  Arena arena_;
  std::vector<PackedConvolution> packed_;  // of each step
  std::vector<PackedLinear> linears_;      // of each step
  size_t batched_ = 0;                     // the first step that takes the whole batch
  Floats single_maps_[2], batch_maps_[2];
  Floats transformed_;  // of all threads
  std::vector<Scratch> scratch_;
  std::vector<double> ms_;  // of each step in the last run, if Spec::profile
  Clock::time_point last_end_;
};

}  // namespace

std::unique_ptr<Engine> Engine::create(const Spec& spec) {
  if (spec.precision == Precision::bf16) return create_bf16_engine(spec);
  return std::make_unique<WinogradEngine>(spec);
}

}  // namespace vgg
