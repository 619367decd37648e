#include "plan.h"

#include <algorithm>
#include <stdexcept>

#include "memory.h"

namespace vgg {
namespace {

constexpr int largest_size =
    65536;  // of anything that is counted: channels, features, pixels a side, pictures

const char* name_of(Layer::Kind kind) {
  switch (kind) {
    case Layer::Kind::conv: return "conv";
    case Layer::Kind::batchnorm: return "batchnorm";
    case Layer::Kind::relu: return "relu";
    case Layer::Kind::lrn: return "lrn";
    case Layer::Kind::maxpool: return "maxpool";
    case Layer::Kind::avgpool: return "avgpool";
    case Layer::Kind::flatten: return "flatten";
    case Layer::Kind::linear: return "linear";
  }
  return "unknown";
}

// Lavin and Gray's F(tile x tile) for one layer. The larger the tile, the fewer multiplications
// (2.25, 4, 5.06 times fewer than the direct convolution) and the more the transforms weigh, which
// grow with the channels, not with their product, and the more a map wastes that ends within a
// tile. Measured on VGG-16 (native/test/bench.cc with tiles=...; docs/native.md has the table): F6
// gains in the first two blocks only; F2 in the last one, where its filters are 2.25 times smaller
// than those of F4 and reading them takes longer than multiplying.
int tile_of(const Layer& conv, const MapShape& in) {
  if (conv.kernel == 1) return 1;
  if (conv.tile != 0) return conv.tile;
  const int smaller = std::min(in.height, in.width);
  if (smaller <= 2) return 2;
  const bool has_many_filters = static_cast<long>(conv.in) * conv.out >= 1 << 17;
  if (smaller <= 14 && has_many_filters) return 2;
  if (smaller >= 96 && std::max(conv.in, conv.out) <= 128) return 6;
  return 4;
}

class Planner {
 public:
  explicit Planner(const Spec& spec) : spec_(spec), shape_{3, spec.input_size, spec.input_size} {}

  std::vector<Step> make() {
    require(spec_.input_size >= 1 && spec_.input_size <= largest_size, "the pictures' size",
            spec_.input_size);
    require(spec_.max_batch >= 1 && spec_.max_batch <= largest_size, "the largest batch",
            spec_.max_batch);
    require(spec_.threads >= 1 && spec_.threads <= 1024, "the number of threads", spec_.threads);
    for (; next_ < count(); ++next_) add(spec_.layers[next_]);
    if (steps_.empty() || steps_.back().kind != Step::Kind::linear)
      throw std::runtime_error("the network does not end with a linear layer");
    if (shape_.channels != spec_.classes) {
      throw std::runtime_error("the last linear layer has " + std::to_string(shape_.channels) +
                               " outputs for " + std::to_string(spec_.classes) + " classes");
    }
    return std::move(steps_);
  }

 private:
  int count() const { return static_cast<int>(spec_.layers.size()); }

  void add(const Layer& layer) {
    if (steps_.empty() && !(layer.kind == Layer::Kind::conv && layer.kernel == 3)) {
      push(Step::Kind::normalise, shape_).layer = -1;
    }
    switch (layer.kind) {
      case Layer::Kind::conv: return add_convolution(layer);
      case Layer::Kind::lrn: return add_lrn(layer);
      case Layer::Kind::maxpool: {
        const MapShape out{shape_.channels, shape_.height / 2, shape_.width / 2};
        if (out.height < 1 || out.width < 1)
          fail("finds a map of one pixel a side: the picture is too small");
        push(Step::Kind::max_pool, out);
        return;
      }
      case Layer::Kind::avgpool:
        require(layer.pool_h >= 1 && layer.pool_h <= largest_size, "its output's height",
                layer.pool_h);
        require(layer.pool_w >= 1 && layer.pool_w <= largest_size, "its output's width",
                layer.pool_w);
        push(Step::Kind::average_pool, {shape_.channels, layer.pool_h, layer.pool_w});
        return;
      case Layer::Kind::flatten: {
        const size_t features = product({shape_.channels, shape_.height, shape_.width});
        if (features > (size_t{1} << 30)) fail("makes a vector of more than 2^30 features");
        push(Step::Kind::flatten, {static_cast<int>(features), 1, 1});
        return;
      }
      case Layer::Kind::linear: return add_linear(layer);
      case Layer::Kind::batchnorm: fail("does not follow a convolution");
      case Layer::Kind::relu: fail("follows neither a convolution nor a linear layer");
    }
    fail("is of an unknown kind");
  }

  void add_convolution(const Layer& conv) {
    require(conv.in == shape_.channels, "the number of its input channels", conv.in);
    require(conv.out >= 1 && conv.out <= largest_size, "the number of its output channels",
            conv.out);
    if (!(conv.kernel == 3 && conv.padding == 1) && !(conv.kernel == 1 && conv.padding == 0))
      fail("has neither a kernel of 3 with a padding of 1 nor a kernel of 1 without padding");
    require(conv.tile == 0 || conv.tile == 2 || conv.tile == 4 || conv.tile == 6, "its tile",
            conv.tile);
    if (!conv.weight) fail("has no weight");

    const bool first = steps_.empty() && conv.tile == 0;
    if (steps_.empty() && !first) push(Step::Kind::normalise, shape_).layer = -1;
    Step& step = push(first ? Step::Kind::first_layer : Step::Kind::convolution,
                      {conv.out, shape_.height, shape_.width});
    step.tile = first ? 0 : tile_of(conv, step.in);
    if (const Layer* batchnorm = take(Layer::Kind::batchnorm)) {
      step.batchnorm = next_;
      require(batchnorm->out == conv.out, "the number of its channels", batchnorm->out);
      if (!batchnorm->mean || !batchnorm->var) fail("has no running statistics");
    }
    step.relu = take(Layer::Kind::relu) != nullptr;
    // A tile of an even side holds whole windows of the pooling.
    const bool poolable = step.tile % 2 == 0 && shape_.height >= 2 && shape_.width >= 2;
    if (poolable && take(Layer::Kind::maxpool)) {
      step.pool = true;
      step.out = shape_ = {conv.out, shape_.height / 2, shape_.width / 2};
    }
  }

  void add_lrn(const Layer& lrn) {
    require(lrn.lrn_size >= 1 && lrn.lrn_size <= largest_size, "its size", lrn.lrn_size);
    push(Step::Kind::lrn, shape_);
  }

  void add_linear(const Layer& linear) {
    if (shape_.height != 1 || shape_.width != 1) fail("does not follow a flatten");
    require(linear.in == shape_.channels, "the number of its input features", linear.in);
    require(linear.out >= 1 && linear.out <= largest_size, "the number of its output features",
            linear.out);
    if (!linear.weight) fail("has no weight");
    Step& step = push(Step::Kind::linear, {linear.out, 1, 1});
    step.relu = take(Layer::Kind::relu) != nullptr;
  }

  Step& push(Step::Kind kind, const MapShape& out) {
    Step step;
    step.kind = kind;
    step.layer = next_;
    step.in = shape_;
    step.out = shape_ = out;
    product({static_cast<long>(map_size(out)), spec_.max_batch});
    steps_.push_back(step);
    return steps_.back();
  }

  // The next layer if it is of this kind; it belongs to the step then.
  const Layer* take(Layer::Kind kind) {
    if (next_ + 1 >= count() || spec_.layers[next_ + 1].kind != kind) return nullptr;
    return &spec_.layers[++next_];
  }

  void require(bool is_right, const std::string& what, int seen) const {
    if (!is_right) fail(what + " cannot be " + std::to_string(seen));
  }

  [[noreturn]] void fail(const std::string& what) const {
    if (next_ >= count() || steps_.empty())
      throw std::runtime_error("the network cannot be run: " + what);
    throw std::runtime_error("layer " + std::to_string(next_) + " (" +
                             name_of(spec_.layers[next_].kind) + ") cannot be run: " + what);
  }

  const Spec& spec_;
  MapShape shape_;
  int next_ = 0;
  std::vector<Step> steps_;
};

const char* name_of(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::normalise: return "normalise";
    case Step::Kind::first_layer: return "direct";
    case Step::Kind::convolution: return "winograd";
    case Step::Kind::lrn: return "lrn";
    case Step::Kind::max_pool: return "maxpool";
    case Step::Kind::average_pool: return "avgpool";
    case Step::Kind::flatten: return "flatten";
    case Step::Kind::linear: return "linear";
  }
  return "unknown";
}

std::string shape_text(const MapShape& shape) {
  return "[" + std::to_string(shape.channels) + "," + std::to_string(shape.height) + "," +
         std::to_string(shape.width) + "]";
}

}  // namespace

size_t map_size(const MapShape& shape) {
  return product({shape.blocks(), channel_block, shape.height, shape.width});
}

std::vector<Step> make_plan(const Spec& spec) { return Planner(spec).make(); }

const char* kind_of(const Step& step) { return step.tile == 1 ? "pointwise" : name_of(step.kind); }

std::string describe(const Step& step) {
  std::string text = "{\"layer\":" + std::to_string(step.layer) + ",\"kind\":\"";
  text += kind_of(step);
  text += "\"";
  if (step.tile > 1) text += ",\"tile\":" + std::to_string(step.tile);
  text += ",\"in\":" + shape_text(step.in) + ",\"out\":" + shape_text(step.out);
  if (step.batchnorm >= 0) text += ",\"batchnorm\":true";
  if (step.relu) text += ",\"relu\":true";
  if (step.pool) text += ",\"pool\":true";
  return text + "}";
}

}  // namespace vgg
