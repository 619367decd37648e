#include "bf16_engine.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <stdexcept>

#include "bf16_layers.h"
#include "bf16_pack.h"
#include "isa.h"
#include "plan.h"
#include "team.h"

namespace vgg {
namespace {

// Maps of more pixels go through picture by picture, smaller ones as a batch: see engine.cc.
constexpr long largest_batched_map = 1024;

// Rows of a map that are worked on at a time, by their size in all channels: they stay in a core's
// cache while panel after panel of filters is applied to them.
constexpr long band_bytes = 1 << 19;

constexpr int numbers_of_line = 32;  // of a cache line
constexpr int lines_of_step = bf16_step / numbers_of_line;

// How far the weights of a linear layer are fetched ahead: without, a core reads an eighth less in
// the same time.
constexpr int linear_steps_ahead = 4;

// Winograd's F(4x4).
constexpr int winograd_tile = 4, positions = 36;
// What all threads hold of transformed tiles at a time, and each of products, in numbers.
constexpr long most_transformed = 1 << 22, most_products = 1 << 17;

int divided_up(long count, long by) { return static_cast<int>((count + by - 1) / by); }

class Bf16Engine final : public Engine {
 public:
  explicit Bf16Engine(const Spec& spec)
      : spec_(spec),
        kernels_(*choose_bf16_kernels(spec.isa ? spec.isa : "")),
        team_(spec.threads),
        normalisation_(Normalisation(spec.mean, spec.std)) {
    lay_out();
    pack();
    reserve();
    spec_.isa = nullptr;  // the caller's, as is:
    spec_.forget = nullptr;
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
    team_.run([&](int thread) {
      work(thread, pixels, n, logits);
      kernels_.release();
    });
  }

  const char* isa() const override { return kernels_.isa; }

  std::string plan() const override {
    std::string text = "{\"isa\":\"" + std::string(isa()) +
                       "\",\"precision\":\"bf16\",\"threads\":" + std::to_string(team_.size()) +
                       ",\"layers\":[";
    for (size_t i = 0; i < steps_.size(); ++i)
      text += (i > 0 ? "," : "") + describe(as_run(steps_[i]));
    return text + "]}";
  }

  std::string times() const override {
    std::string text = "[";
    for (size_t i = 0; i < ms_.size(); ++i) {
      text += (i > 0 ? "," : "") + std::string("{\"layer\":") + std::to_string(steps_[i].layer) +
              ",\"kind\":\"" + kind_of(as_run(steps_[i])) + "\",\"ms\":" + std::to_string(ms_[i]) +
              "}";
    }
    return text + "]";
  }

 private:
  using Clock = std::chrono::steady_clock;

  // A map of less than a tile is not worth the transforms.
  bool takes_winograd(const Step& step) const {
    return kernels_.transform_input && step.kind == Step::Kind::convolution && step.tile > 1 &&
           std::min(step.in.height, step.in.width) >= winograd_tile;
  }

  // The plan is made for the tiles of float32; here a convolution of 3x3 has its own, or is direct,
  // as the first layer is there.
  Step as_run(Step step) const {
    if (step.kind != Step::Kind::convolution || step.tile <= 1) return step;
    step.tile = takes_winograd(step) ? winograd_tile : 0;
    if (step.tile == 0) step.kind = Step::Kind::first_layer;
    return step;
  }

  // ---- what is made once ----

  // layouts_[i] is what step i reads, layouts_[i + 1] what it writes. Vectors have a layout of
  // their own, into which a flatten brings a map, be it of one pixel; what is a vector needs none.
  void lay_out() {
    layouts_.push_back({{3, spec_.input_size, spec_.input_size}, false, 1});
    for (const Step& step : make_plan(spec_)) {
      const bool is_vector = layouts_.back().is_vector;
      if (step.kind == Step::Kind::flatten && is_vector) continue;
      if (step.kind == Step::Kind::linear && !is_vector) {
        Step flatten{Step::Kind::flatten, step.layer, step.in, step.in};
        add(flatten, true);
      } else if (is_vector && step.kind != Step::Kind::linear) {
        throw std::runtime_error("layer " + std::to_string(step.layer) +
                                 " cannot be run in bf16: it follows a flatten and is not linear");
      }
      add(step, step.kind == Step::Kind::flatten || step.kind == Step::Kind::linear);
    }
    while (steps_[batched_].in.pixels() > largest_batched_map) ++batched_;
    for (size_t i = batched_; i < layouts_.size(); ++i) layouts_[i].pictures = spec_.max_batch;
  }

  void add(const Step& step, bool makes_vector) {
    steps_.push_back(step);
    layouts_.push_back({step.out, makes_vector, 1});
  }

  void pack() {
    for (const Step& step : steps_) {
      const Layer* layer = step.layer >= 0 ? &spec_.layers[step.layer] : nullptr;
      const Layer* batchnorm = step.batchnorm >= 0 ? &spec_.layers[step.batchnorm] : nullptr;
      const bool is_first = step.kind == Step::Kind::first_layer;
      packed_.push_back(takes_winograd(step) ? pack_bf16_winograd(*layer, batchnorm, team_)
                        : is_first || step.kind == Step::Kind::convolution
                            ? pack_bf16_convolution(*layer, batchnorm, is_first, team_)
                        : step.kind == Step::Kind::linear ? pack_bf16_linear(spec_, *layer, team_)
                                                          : Bf16Packed{});
      if (layer && layer->kind == Layer::Kind::conv && spec_.forget)
        spec_.forget(layer->weight,
                     sizeof(float) * layer->out * layer->in * layer->kernel * layer->kernel);
    }
  }

  void reserve() {
    size_t single = 0, batch = 0, lines = 0, rows = 0, patches = 0, channels = 0, transformed = 0;
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      size_t& largest = i + 1 < batched_ ? single : batch;
      if (i + 1 < steps_.size()) largest = std::max(largest, layouts_[i + 1].size());
      const long row = layouts_[i].row();
      const int band = band_rows(i) * (step.pool ? 2 : 1);
      if (step.pool) lines = std::max(lines, product({band, row, bf16_block}));
      if (step.kind == Step::Kind::first_layer) {
        rows = product({band + 2, spec_.input_size + 2, 3});
        patches = product({band, row, bf16_block});
      }
      if (takes_winograd(step)) {
        product({tiles_of(step), spec_.max_batch, 1 << 10});
        if (tiles_of(step) * spec_.max_batch > INT_MAX / 2) throw std::bad_alloc();
        transformed = std::max(
            transformed, product({positions, layouts_[i].blocks(), most_tiles(i), bf16_block}));
      }
      if (step.kind == Step::Kind::lrn)
        channels = std::max(channels, product({layouts_[i].blocks(), bf16_block}));
    }
    for (Bfloat16s& map : single_maps_) map = Bfloat16s(single);
    for (Bfloat16s& map : batch_maps_) map = Bfloat16s(batch);
    transformed_ = Bfloat16s(transformed);
    for (int thread = 0; thread < team_.size(); ++thread)
      scratch_.push_back({Bfloat16s(lines), Bfloat16s(rows), Bfloat16s(patches),
                          Floats(3 * channels), Floats(transformed > 0 ? most_products : 0)});
  }

  // Rows of outputs that are made at a time.
  int band_rows(size_t index) const {
    const Step& step = steps_[index];
    const int stride = step.pool ? 2 : 1;
    const Bf16Layout& in = layouts_[index];
    const long row_bytes = static_cast<long>(in.row()) * in.blocks() * bf16_block * 2;
    const long fitting = (band_bytes / row_bytes - 2) / stride;
    return static_cast<int>(std::clamp(fitting, 1L, static_cast<long>(step.out.height)));
  }

  // ---- a run ----

  struct Scratch {
    Bfloat16s lines;    // what is pooled
    Bfloat16s rows;     // first layer: normalised pixels
    Bfloat16s patches;  // first layer
    Floats squares;     // lrn
    Floats products;    // Winograd
  };

  // What every thread does. Maps alternate between two buffers.
  void work(int thread, const uint8_t* pixels, int n, float* logits) {
    const size_t picture_bytes = size_t{3} * spec_.input_size * spec_.input_size;
    for (int picture = 0; picture < (batched_ > 0 ? n : 0); ++picture) {
      for (size_t i = 0; i < batched_; ++i) {
        bfloat16* out = i + 1 < batched_ ? single_maps_[(i + 1) % 2].data()
                                         : batch_maps_[(i + 1) % 2].data() +
                                               picture * layouts_[i + 1].picture_stride();
        run_step(i, thread, pixels + picture * picture_bytes, single_maps_[i % 2].data(), out, 1,
                 logits);
      }
    }
    for (size_t i = batched_; i < steps_.size(); ++i)
      run_step(i, thread, pixels, batch_maps_[i % 2].data(), batch_maps_[(i + 1) % 2].data(), n,
               logits);
  }

  void run_step(size_t index, int thread, const uint8_t* pixels, const bfloat16* in, bfloat16* out,
                int pictures, float* logits) {
    const Step& step = steps_[index];
    const Bf16Layout& from = layouts_[index];
    const Bf16Layout& to = layouts_[index + 1];
    const size_t picture_bytes = size_t{3} * spec_.input_size * spec_.input_size;
    switch (step.kind) {
      case Step::Kind::normalise:
        each(index, 1, in, out, pictures, [&](int picture, int, const bfloat16*, bfloat16* map) {
          normalise_map(normalisation_, pixels + picture * picture_bytes, to, map);
        });
        break;
      case Step::Kind::first_layer: run_first_layer(index, thread, pixels, out, pictures); break;
      case Step::Kind::convolution: run_convolution(index, thread, in, out, pictures); break;
      case Step::Kind::linear: run_linear(index, in, out, pictures, logits); break;
      case Step::Kind::lrn:
        each(index, step.in.height, in, out, pictures,
             [&](int, int row, const bfloat16* map, bfloat16* result) {
               run_response(index, thread, row, map, result);
             });
        break;
      case Step::Kind::max_pool:
        each(index, to.blocks(), in, out, pictures,
             [&](int, int block, const bfloat16* map, bfloat16* result) {
               to.clear_border(result, block);
               kernels_.max_pool({map + block * from.block_stride() + from.pixel(0, 0), from.row(),
                                  to.row(), step.out.height, step.out.width,
                                  result + block * to.block_stride() + to.pixel(0, 0)});
             });
        break;
      case Step::Kind::average_pool:
        each(index, to.blocks(), in, out, pictures,
             [&](int, int block, const bfloat16* map, bfloat16* result) {
               average_pool(from, to, block, map, result);
             });
        break;
      case Step::Kind::flatten:
        each(index, from.blocks(), in, out, pictures,
             [&](int, int block, const bfloat16* map, bfloat16* result) {
               flatten(from, to, block, map, result);
             });
        break;
    }
    team_.barrier();
    if (spec_.profile && thread == 0) {
      const Clock::time_point end = Clock::now();
      ms_[index] += std::chrono::duration<double, std::milli>(end - last_end_).count();
      last_end_ = end;
    }
  }

  // body(picture, part, its input, its output) for all parts of all pictures, shared out among the
  // threads.
  template <class Body>
  void each(size_t index, int parts, const bfloat16* in, bfloat16* out, int pictures,
            const Body& body) {
    for (int unit = team_.claim(); unit < parts * pictures; unit = team_.claim()) {
      const int picture = unit / parts;
      body(picture, unit % parts, in + picture * layouts_[index].picture_stride(),
           out + picture * layouts_[index + 1].picture_stride());
    }
  }

  // Some rows of outputs of one panel, whose inputs `job` describes; their row `y` is `end - first`
  // rows of pixels (twice as many if they are pooled).
  void run_panel(size_t index, int thread, int panel, int first, int end, Bf16Convolution job,
                 bfloat16* out) {
    const Step& step = steps_[index];
    const Bf16Layout& to = layouts_[index + 1];
    const Bf16Packed& packed = packed_[index];
    const int rows = end - first;
    job.filters = packed.filters.data() + panel * packed.panel_stride;
    job.bias = packed.bias.data() + panel * bf16_block;
    job.relu = step.relu;
    job.row = step.in.width + 1;
    job.pixels = rows * (step.pool ? 2 : 1) * job.row - 1;
    job.until_border = step.in.width;
    bfloat16* const result = out + panel * to.block_stride();
    if (first == 0) to.clear_above(out, panel);
    if (step.pool) {
      job.out = scratch_[thread].lines.data();
      kernels_.convolve(job);
      kernels_.max_pool(
          {job.out, job.row, to.row(), rows, step.out.width, result + to.pixel(first, 0)});
    } else {
      job.out = result + to.pixel(first, 0);
      kernels_.convolve(job);
      if (end < step.out.height)
        std::fill_n(result + to.pixel(end - 1, step.out.width), bf16_block, bfloat16{0});
    }
    if (end == step.out.height) to.clear_below(out, panel);
  }

  void run_first_layer(size_t index, int thread, const uint8_t* pixels, bfloat16* out,
                       int pictures) {
    const Step& step = steps_[index];
    Scratch& scratch = scratch_[thread];
    const int size = spec_.input_size;
    const int band = band_rows(index);
    const int stride = step.pool ? 2 : 1;
    each(index, divided_up(step.out.height, band), nullptr, out, pictures,
         [&](int picture, int unit, const bfloat16*, bfloat16* result) {
           const int first = unit * band;
           const int end = std::min(first + band, step.out.height);
           normalise_rows(normalisation_, pixels + size_t{3} * size * size * picture, size,
                          first * stride - 1, end * stride + 1, scratch.rows.data());
           for (int y = 0; y < (end - first) * stride; ++y)
             kernels_.patches({scratch.rows.data() + y * (size + 2L) * 3, size,
                               scratch.patches.data() + y * (size + 1L) * bf16_block});
           Bf16Convolution job{};
           job.map = scratch.patches.data();
           job.blocks = job.taps = 1;
           for (int panel = 0; panel < layouts_[index + 1].blocks(); ++panel)
             run_panel(index, thread, panel, first, end, job, result);
         });
  }

  static long tiles_of(const Step& step) {
    return static_cast<long>(divided_up(step.in.height, winograd_tile)) *
           divided_up(step.in.width, winograd_tile);
  }

  // Tiles that are transformed at a time.
  int most_tiles(size_t index) const {
    const long numbers = static_cast<long>(positions) * layouts_[index].blocks() * bf16_block;
    return static_cast<int>(
        std::clamp(most_transformed / numbers, 1L, tiles_of(steps_[index]) * spec_.max_batch));
  }

  // All threads transform the tiles together, then each takes some of them through some panels of
  // outputs to the map.
  void run_winograd(size_t index, int thread, const bfloat16* in, bfloat16* out, int pictures) {
    const Step& step = steps_[index];
    const Bf16Layout& from = layouts_[index];
    const Bf16Layout& to = layouts_[index + 1];
    const int count = static_cast<int>(tiles_of(step) * pictures);
    const int at_a_time = divided_up(count, divided_up(count, most_tiles(index)));
    constexpr int most_of_part = most_products / (positions * bf16_block);
    const int panels = to.blocks();
    Bf16Tiles tiles{step.in.height,
                    step.in.width,
                    divided_up(step.in.height, winograd_tile),
                    divided_up(step.in.width, winograd_tile),
                    0,
                    0};
    for (int first = 0; first < count; first += at_a_time) {
      if (first > 0) team_.barrier();
      const int here = std::min(at_a_time, count - first);
      const int parts = divided_up(here, most_of_part);
      const long plane = static_cast<long>(from.blocks()) * here * bf16_block;
      const auto part_of = [&](int part) {
        const int start = static_cast<int>(static_cast<long>(here) * part / parts);
        tiles.first = first + start;
        tiles.count = static_cast<int>(static_cast<long>(here) * (part + 1) / parts) - start;
        return start;
      };
      for (int unit = team_.claim(); unit < from.blocks() * parts; unit = team_.claim()) {
        const int block = unit / parts, start = part_of(unit % parts);
        kernels_.transform_input(
            {in + block * from.block_stride() + from.pixel(0, 0), from.picture_stride(), from.row(),
             tiles, transformed_.data() + (static_cast<long>(block) * here + start) * bf16_block,
             plane});
      }
      team_.barrier();
      for (int unit = team_.claim(); unit < panels * parts; unit = team_.claim()) {
        const int panel = unit / parts, start = part_of(unit % parts);
        if (first + start == 0)
          for (int picture = 0; picture < pictures; ++picture)
            to.clear_border(out + picture * to.picture_stride(), panel);
        float* products = scratch_[thread].products.data();
        multiply_tiles(index, panel, transformed_.data() + start * bf16_block, here, tiles.count,
                       products);
        kernels_.transform_output({products, static_cast<long>(tiles.count) * bf16_block, tiles,
                                   packed_[index].bias.data() + panel * bf16_block, step.relu,
                                   step.pool, out + panel * to.block_stride() + to.pixel(0, 0),
                                   to.picture_stride(), to.row()});
      }
    }
  }

  // Some of the `here` transformed tiles for one panel: a 1x1 convolution for each xi.
  void multiply_tiles(size_t index, int panel, const bfloat16* transformed, int here, int count,
                      float* products) {
    static constexpr float no_bias[bf16_block] = {};
    const Bf16Packed& packed = packed_[index];
    const int blocks = layouts_[index].blocks();
    Bf16Convolution job{};
    job.block_stride = static_cast<long>(here) * bf16_block;
    job.blocks = blocks;
    job.taps = 1;
    job.pixels = count;
    job.bias = no_bias;
    job.logits_stride = job.outputs = bf16_block;
    for (int xi = 0; xi < positions; ++xi) {
      job.map = transformed + xi * blocks * job.block_stride;
      job.filters = packed.filters.data() + panel * packed.panel_stride +
                    static_cast<long>(xi) * blocks * bf16_step;
      job.logits = products + static_cast<long>(xi) * count * bf16_block;
      kernels_.convolve(job);
    }
  }

  void run_convolution(size_t index, int thread, const bfloat16* in, bfloat16* out, int pictures) {
    const Step& step = steps_[index];
    if (takes_winograd(step)) return run_winograd(index, thread, in, out, pictures);
    const Bf16Layout& from = layouts_[index];
    const Bf16Layout& to = layouts_[index + 1];
    const int band = band_rows(index);
    const int bands = divided_up(step.out.height, band);
    const int panels = to.blocks();
    const long panel_stride = packed_[index].panel_stride;
    const auto run = [&](int panel, int picture, int number, int next_panel) {
      const int first = number * band;
      Bf16Convolution job{};
      if (next_panel < panels) {
        job.next_filters = packed_[index].filters.data() + next_panel * panel_stride;
        job.next_lines = panel_stride / numbers_of_line;
        // The kernel passes over the panel once for every 48 pixels at the most.
        const long passes = static_cast<long>(band) * step.out.width / 48;
        job.lines_at_a_time = divided_up(lines_of_step, std::max(1L, passes));
      }
      job.map = in + picture * from.picture_stride() + from.pixel(first * (step.pool ? 2 : 1), 0);
      job.block_stride = from.block_stride();
      job.blocks = from.blocks();
      job.taps = step.taps() * step.taps();
      run_panel(index, thread, panel, first, std::min(first + band, step.out.height), job,
                out + picture * to.picture_stride());
    };
    // Where filters are large beside maps, a thread takes a panel through the whole batch; else it
    // takes the panels of one band after the other.
    const int parts = pictures * bands;
    if (index >= batched_ && panels >= 4 * team_.size()) {
      for (int panel = team_.claim(), next; panel < panels; panel = next) {
        next = team_.claim();
        for (int part = 0; part < parts; ++part)
          run(panel, part / bands, part % bands, part + 1 == parts ? next : panels);
      }
    } else {
      for (int unit = team_.claim(); unit < parts * panels; unit = team_.claim())
        run(unit % panels, unit / panels / bands, unit / panels % bands, panels);
    }
  }

  void run_linear(size_t index, const bfloat16* in, bfloat16* out, int pictures, float* logits) {
    const Step& step = steps_[index];
    const Bf16Layout& from = layouts_[index];
    const Bf16Layout& to = layouts_[index + 1];
    const Bf16Packed& packed = packed_[index];
    const bool is_last = index + 1 == steps_.size();
    Bf16Convolution job{};
    job.map = in;
    job.block_stride = from.block_stride();
    job.blocks = from.blocks();
    job.taps = 1;
    job.pixels = pictures;
    job.until_border = INT_MAX;
    job.relu = step.relu;
    job.logits_stride = step.out.channels;
    for (int panel = team_.claim(); panel < to.blocks(); panel = team_.claim()) {
      job.filters = packed.filters.data() + panel * packed.panel_stride;
      job.bias = packed.bias.data() + panel * bf16_block;
      job.out = is_last ? nullptr : out + panel * to.block_stride();
      job.logits = logits + panel * bf16_block;
      job.outputs = std::min(bf16_block, step.out.channels - panel * bf16_block);
      const long steps = std::min(packed.panel_stride * (to.blocks() - panel) / bf16_step,
                                  packed.panel_stride / bf16_step + linear_steps_ahead);
      job.next_filters = job.filters + linear_steps_ahead * bf16_step;
      job.next_lines = (steps - linear_steps_ahead) * lines_of_step;
      job.lines_at_a_time = lines_of_step;
      kernels_.convolve(job);
    }
  }

  void run_response(size_t index, int thread, int row, const bfloat16* map, bfloat16* out) {
    const Step& step = steps_[index];
    const Layer& lrn = spec_.layers[step.layer];
    const Bf16Layout& from = layouts_[index];
    const Bf16Layout& to = layouts_[index + 1];
    Bf16Response job{};
    job.map = map + from.pixel(row, 0);
    job.block_stride = from.block_stride();
    job.out_block_stride = to.block_stride();
    job.channels = step.in.channels;
    job.width = step.in.width;
    job.before = lrn.lrn_size / 2;
    job.after = (lrn.lrn_size - 1) / 2;
    job.k = static_cast<float>(lrn.lrn_k);
    job.factor = static_cast<float>(lrn.lrn_alpha / lrn.lrn_size);
    job.exponent = static_cast<float>(lrn.lrn_beta);
    job.out = out + to.pixel(row, 0);
    job.squares = scratch_[thread].squares.data();
    for (int block = 0; block < to.blocks(); ++block) {
      if (row == 0) to.clear_above(out, block);
      if (row + 1 == step.in.height)
        to.clear_below(out, block);
      else
        std::fill_n(out + block * to.block_stride() + to.pixel(row, step.in.width), bf16_block,
                    bfloat16{0});
    }
    kernels_.normalise_response(job);
  }

  Spec spec_;
  const Bf16Kernels& kernels_;
  std::vector<Step> steps_;
  Team team_;
  Bf16Normalisation normalisation_;
  std::vector<Bf16Layout> layouts_;  // of steps_[i]'s input; the last is the network's output
  std::vector<Bf16Packed> packed_;   // of each step
  size_t batched_ = 0;               // the first step that takes the whole batch
  Bfloat16s single_maps_[2], batch_maps_[2];
  Bfloat16s transformed_;  // Winograd, of all threads
  std::vector<Scratch> scratch_;
  std::vector<double> ms_;  // of each step in the last run, if Spec::profile
  Clock::time_point last_end_;
};

}  // namespace

std::unique_ptr<Engine> create_bf16_engine(const Spec& spec) {
  return std::make_unique<Bf16Engine>(spec);
}

}  // namespace vgg
