// The Node-API face of vgg::Engine: open(spec) -> handle, run(handle, pixels, n, logits),
// about(handle), times(handle), close(handle); precisions(isa), fmaPeak(isa, threads).
//
// The caller is src/engines/native/session.ts, in a process that does nothing else, so run() is
// synchronous: it blocks until the logits are there. Every argument is checked all the same: a
// wrong one is a JavaScript error, never a crash.
#include <node_api.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "src/engine.h"
#include "src/isa.h"
#include "src/peak.h"

namespace {

// Number.MAX_SAFE_INTEGER.
constexpr int64_t largest_integer = (int64_t{1} << 53) - 1;

// Of a picture, in pixels; far from any real network.
constexpr int64_t largest_side = 65536;

// JavaScript has thrown already: nothing is left to say.
struct PendingException {};

void check(napi_env env, napi_status status, const char* what) {
  if (status == napi_ok) return;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) throw PendingException();
  throw std::invalid_argument(what);
}

// A JavaScript value under the name by which errors call it.
class Value {
 public:
  Value(napi_env env, napi_value value, std::string name)
      : env_(env), value_(value), name_(std::move(name)) {}

  Value operator[](const char* key) const {
    napi_value field;
    check(napi_get_named_property(env_, value_, key, &field), "an object");
    return {env_, field, name_ + "." + key};
  }

  Value operator[](uint32_t index) const {
    napi_value element;
    check(napi_get_element(env_, value_, index, &element), "an array");
    return {env_, element, name_ + "[" + std::to_string(index) + "]"};
  }

  bool is_null() const { return type() == napi_null; }
  bool is_undefined() const { return type() == napi_undefined; }

  // A value that is left out is false.
  bool flag() const {
    bool flag = false;
    if (!is_undefined()) check(napi_get_value_bool(env_, value_, &flag), "a boolean");
    return flag;
  }

  uint32_t length() const {
    uint32_t length = 0;
    check(napi_get_array_length(env_, value_, &length), "an array");
    return length;
  }

  // NaN or infinity would only show in the logits.
  double finite() const {
    const double seen = number();
    if (!std::isfinite(seen)) throw std::invalid_argument(name_ + " is not a finite number");
    return seen;
  }

  // A whole number of 0..largest. The comparison refuses NaN as well.
  int64_t integer(int64_t largest) const {
    const double seen = number();
    if (!(seen >= 0 && seen <= static_cast<double>(largest)) ||
        seen != static_cast<double>(static_cast<int64_t>(seen)))
      throw std::invalid_argument(name_ + " is not a whole number from 0 to " +
                                  std::to_string(largest));
    return static_cast<int64_t>(seen);
  }

  int integer() const { return static_cast<int>(integer(std::numeric_limits<int>::max())); }

  std::string text() const {
    char buffer[64];  // A text that is longer is cut, and then none of those that are understood.
    size_t length = 0;
    check(napi_get_value_string_utf8(env_, value_, buffer, sizeof buffer, &length), "a string");
    return {buffer, length};
  }

  // The elements of a typed array of that type, and how many there are.
  template <typename T>
  std::pair<T*, size_t> elements(napi_typedarray_type wanted, const char* what) const {
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    bool is_typed_array = false;
    check(napi_is_typedarray(env_, value_, &is_typed_array), what);
    if (!is_typed_array) throw std::invalid_argument(name_ + " is not " + what);
    check(napi_get_typedarray_info(env_, value_, &type, &length, &data, nullptr, nullptr), what);
    if (type != wanted) throw std::invalid_argument(name_ + " is not " + what);
    return {static_cast<T*>(data), length};
  }

  const std::string& name() const { return name_; }

 private:
  double number() const {
    double number = 0;
    check(napi_get_value_double(env_, value_, &number), "a number");
    return number;
  }

  napi_valuetype type() const {
    napi_valuetype type;
    check(napi_typeof(env_, value_, &type), "a value");
    return type;
  }
  void check(napi_status status, const char* what) const {
    if (status != napi_ok) ::check(env_, status, (name_ + " is not " + what).c_str());
  }

  napi_env env_;
  napi_value value_;
  std::string name_;
};

// A file in memory, read-only, while its weights are packed. Another process that cuts it short
// meanwhile ends this one (SIGBUS).
class MappedFile {
 public:
  // The descriptor may be closed afterwards. Throws when the file is shorter than `size`, by now or
  // from the start.
  MappedFile(int fd, size_t size) : size_(size) {
    struct stat status;
    if (fstat(fd, &status) != 0) throw std::runtime_error(reason());
    if (static_cast<uint64_t>(status.st_size) < size)
      throw std::runtime_error(
          "a file of weights has become shorter: " + std::to_string(status.st_size) +
          " bytes, not " + std::to_string(size));
    if (size == 0) return;
    void* start = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (start == MAP_FAILED) throw std::runtime_error(reason());
    start_ = static_cast<const uint8_t*>(start);
  }
  MappedFile(MappedFile&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile() {
    if (start_ != nullptr) munmap(const_cast<uint8_t*>(start_), size_);
  }

  // Lets go of the whole pages among `bytes` of them; the kernel's cache brings back those that are
  // read again. Does nothing for memory of others.
  void release_pages(const uint8_t* from, size_t bytes) const {
    if (start_ == nullptr || from < start_ || from + bytes > start_ + size_) return;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t first = (static_cast<size_t>(from - start_) + page - 1) / page * page;
    const size_t end = (static_cast<size_t>(from - start_) + bytes) / page * page;
    if (first < end) madvise(const_cast<uint8_t*>(start_) + first, end - first, MADV_DONTNEED);
  }

  // Throws when [offset, offset + bytes) is not inside the file.
  const uint8_t* range(uint64_t offset, uint64_t bytes) const {
    if (offset > size_ || bytes > size_ - offset)
      throw std::runtime_error("the weights are out of bounds: " + std::to_string(bytes) +
                               " bytes at " + std::to_string(offset) + " of a file of " +
                               std::to_string(size_));
    return start_ + offset;
  }

 private:
  static std::string reason() {
    return std::string("a file of weights cannot be mapped: ") + std::strerror(errno);
  }

  const uint8_t* start_ = nullptr;
  size_t size_ = 0;
};

struct Network {
  std::unique_ptr<vgg::Engine> engine;
  size_t picture_bytes = 0;
  size_t classes = 0;
  int max_batch = 0;
};

// Tells our handles from other people's externals.
constexpr napi_type_tag network_tag = {0x76a37c1d9be04f1eull, 0x9a63f1b5c2d84e07ull};

// Reads the layers of a spec; weights are [index of the file, byte offset] of float32 numbers.
class LayerReader {
 public:
  explicit LayerReader(const std::vector<MappedFile>& files) : files_(files) {}

  vgg::Layer read(const Value& object) const {
    using Kind = vgg::Layer::Kind;
    vgg::Layer layer{};
    const std::string kind = object["kind"].text();
    if (kind == "conv") {
      layer.kind = Kind::conv;
      layer.in = object["in"].integer();
      layer.out = object["out"].integer();
      layer.kernel = object["kernel"].integer();
      layer.padding = object["padding"].integer();
      layer.weight = floats(object["weight"], {layer.out, layer.in, layer.kernel, layer.kernel});
      if (!object["bias"].is_null()) layer.bias = floats(object["bias"], {layer.out});
    } else if (kind == "batchnorm") {
      layer.kind = Kind::batchnorm;
      layer.out = object["channels"].integer();
      layer.eps = object["eps"].finite();
      layer.gamma = floats(object["weight"], {layer.out});
      layer.beta = floats(object["bias"], {layer.out});
      layer.mean = floats(object["running_mean"], {layer.out});
      layer.var = floats(object["running_var"], {layer.out});
    } else if (kind == "relu") {
      layer.kind = Kind::relu;
    } else if (kind == "lrn") {
      layer.kind = Kind::lrn;
      layer.lrn_size = object["size"].integer();
      layer.lrn_alpha = object["alpha"].finite();
      layer.lrn_beta = object["beta"].finite();
      layer.lrn_k = object["k"].finite();
    } else if (kind == "maxpool") {
      layer.kind = Kind::maxpool;
    } else if (kind == "avgpool") {
      layer.kind = Kind::avgpool;
      layer.pool_h = object["output"][0u].integer();
      layer.pool_w = object["output"][1u].integer();
    } else if (kind == "flatten") {
      layer.kind = Kind::flatten;
    } else if (kind == "linear") {
      layer.kind = Kind::linear;
      layer.in = object["in"].integer();
      layer.out = object["out"].integer();
      layer.weight = floats(object["weight"], {layer.out, layer.in});
      layer.bias = floats(object["bias"], {layer.out});
    } else {
      throw std::invalid_argument(object.name() + " is of a kind that is not known: " + kind);
    }
    return layer;
  }

 private:
  const uint8_t* floats(const Value& place, std::initializer_list<int> shape) const {
    const auto file = static_cast<size_t>(place[0u].integer());
    if (file >= files_.size()) throw std::invalid_argument(place.name() + " names no file");
    uint64_t bytes = sizeof(float);
    for (const int extent : shape) {
      if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes))
        throw std::invalid_argument(place.name() + " would be larger than any memory");
    }
    return files_[file].range(static_cast<uint64_t>(place[1u].integer(largest_integer)), bytes);
  }

  const std::vector<MappedFile>& files_;
};

std::vector<MappedFile> map_files(const Value& list) {
  std::vector<MappedFile> files;
  const uint32_t count = list.length();
  files.reserve(count);
  for (uint32_t index = 0; index < count; ++index) {
    const Value file = list[index];
    files.emplace_back(file["fd"].integer(),
                       static_cast<size_t>(file["size"].integer(largest_integer)));
  }
  return files;
}

constexpr vgg::Precision precisions[] = {vgg::Precision::fp32, vgg::Precision::bf16,
                                         vgg::Precision::bf16_classifier};

vgg::Precision read_precision(const Value& value) {
  const std::string name = value.text();
  for (const vgg::Precision precision : precisions)
    if (name == vgg::name_of(precision)) return precision;
  throw std::invalid_argument(value.name() + " is none of fp32, bf16 and bf16-classifier: " + name);
}

vgg::Spec read_spec(const Value& object, const std::vector<MappedFile>& files) {
  vgg::Spec spec;
  const LayerReader reader(files);
  const Value layers = object["layers"];
  const uint32_t count = layers.length();
  for (uint32_t index = 0; index < count; ++index)
    spec.layers.push_back(reader.read(layers[index]));
  spec.input_size = static_cast<int>(object["inputSize"].integer(largest_side));
  spec.classes = object["classes"].integer();
  for (uint32_t channel = 0; channel < 3; ++channel) {
    spec.mean[channel] = static_cast<float>(object["mean"][channel].finite());
    spec.std[channel] = static_cast<float>(object["std"][channel].finite());
  }
  spec.max_batch = object["maxBatchSize"].integer();
  spec.threads = object["threads"].integer();
  spec.precision = read_precision(object["precision"]);
  spec.profile = object["profile"].flag();
  return spec;
}

// The arguments of a call; those that are left out are `undefined`.
template <size_t count>
struct Arguments {
  Arguments(napi_env env, napi_callback_info info) {
    size_t given = count;
    check(env, napi_get_cb_info(env, info, &given, values, nullptr, nullptr), "a call");
  }
  napi_value values[count];
};

Network& network_of(napi_env env, napi_value handle) {
  napi_valuetype type;
  bool is_ours = false;
  check(env, napi_typeof(env, handle, &type), "a handle");
  if (type == napi_external)
    check(env, napi_check_object_type_tag(env, handle, &network_tag, &is_ours), "a handle");
  if (!is_ours) throw std::invalid_argument("the handle is not one of open()");
  void* network = nullptr;
  check(env, napi_get_value_external(env, handle, &network), "a handle");
  return *static_cast<Network*>(network);
}

// @param spec see NativeSpec in src/engines/native/addon.ts
napi_value open(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Value object(env, arguments.values[0], "spec");
  auto network = std::make_unique<Network>();
  const std::vector<MappedFile> files = map_files(object["files"]);
  vgg::Spec spec = read_spec(object, files);
  const std::string isa = object["isa"].text();
  spec.isa = isa.c_str();
  spec.forget = [&](const uint8_t* from, size_t count) {
    for (const MappedFile& file : files) file.release_pages(from, count);
  };
  network->picture_bytes = size_t{3} * spec.input_size * spec.input_size;
  network->classes = spec.classes;
  network->max_batch = spec.max_batch;
  network->engine = vgg::Engine::create(spec);
  napi_value handle;
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Network*>(data); };
  check(env, napi_create_external(env, network.get(), finalize, nullptr, &handle),
        "no handle can be made");
  network.release();  // From here on the finalizer frees it; before, when the environment is being
                      // torn down, we do.
  check(env, napi_type_tag_object(env, handle, &network_tag), "the handle cannot be tagged");
  return handle;
}

// @param pixels Uint8Array [n, input_size, input_size, 3]; @param logits Float32Array [n, classes],
// written here
napi_value run(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  Network& network = network_of(env, arguments.values[0]);
  if (!network.engine) throw std::runtime_error("the network is closed");
  const auto [pixels, bytes] =
      Value(env, arguments.values[1], "pixels").elements<uint8_t>(napi_uint8_array, "a Uint8Array");
  const int64_t n = Value(env, arguments.values[2], "n").integer(network.max_batch);
  const auto [logits, count] = Value(env, arguments.values[3], "logits")
                                   .elements<float>(napi_float32_array, "a Float32Array");
  if (n < 1 || bytes != n * network.picture_bytes || count != n * network.classes)
    throw std::invalid_argument(std::to_string(n) + " pictures in " + std::to_string(bytes) +
                                " bytes, with room for " + std::to_string(count) + " logits");
  network.engine->run(pixels, static_cast<int>(n), logits);
  return nullptr;
}

// @returns {isa, plan}: the instruction set, and what each layer is computed by, as JSON
napi_value about(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Network& network = network_of(env, arguments.values[0]);
  if (!network.engine) throw std::runtime_error("the network is closed");
  napi_value result;
  check(env, napi_create_object(env, &result), "an object");
  for (const auto& [name, text] :
       {std::pair<const char*, std::string>{"isa", network.engine->isa()},
        {"plan", network.engine->plan()}}) {
    napi_value value;
    check(env, napi_create_string_utf8(env, text.data(), text.size(), &value), "a string");
    check(env, napi_set_named_property(env, result, name, value), "a property");
  }
  return result;
}

// @param isa as in NativeSpec; @returns {fp32, bf16, "bf16-classifier"}: each true, or why it does
// not run on this machine
napi_value precisions_here(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const std::string isa = Value(env, arguments.values[0], "isa").text();
  napi_value result;
  check(env, napi_create_object(env, &result), "an object");
  for (const vgg::Precision precision : precisions) {
    const std::string why = vgg::why_not(precision, isa);
    napi_value value;
    check(env,
          why.empty() ? napi_get_boolean(env, true, &value)
                      : napi_create_string_utf8(env, why.data(), why.size(), &value),
          "a value");
    check(env, napi_set_named_property(env, result, vgg::name_of(precision), value), "a property");
  }
  return result;
}

// @returns the milliseconds of each layer in the last run, as JSON; none unless spec.profile was set
napi_value times(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Network& network = network_of(env, arguments.values[0]);
  if (!network.engine) throw std::runtime_error("the network is closed");
  const std::string text = network.engine->times();
  napi_value result;
  check(env, napi_create_string_utf8(env, text.data(), text.size(), &result), "a string");
  return result;
}

// Gives the memory back. A second call does nothing.
napi_value close(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Network& network = network_of(env, arguments.values[0]);
  network.engine.reset();
  return nullptr;
}

// @returns 10^9 floating point operations a second, see peak.h; for the bench
napi_value fma_peak(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const std::string isa = Value(env, arguments.values[0], "isa").text();
  const int threads = Value(env, arguments.values[1], "threads").integer();
  napi_value result;
  check(env, napi_create_double(env, vgg::fma_peak(isa, threads), &result), "a number");
  return result;
}

// Turns what `function` throws into a JavaScript exception.
template <napi_value (*function)(napi_env, napi_callback_info)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return function(env, info);
  } catch (const PendingException&) {
  } catch (const std::invalid_argument& error) {
    napi_throw_type_error(env, nullptr, error.what());
  } catch (const std::bad_alloc&) {
    napi_throw_error(env, nullptr, "there is not enough memory for the network");
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  } catch (...) {
    napi_throw_error(env, nullptr, "the native engine failed for an unknown reason");
  }
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {{"open", guarded<open>},
                   {"run", guarded<run>},
                   {"about", guarded<about>},
                   {"precisions", guarded<precisions_here>},
                   {"times", guarded<times>},
                   {"close", guarded<close>},
                   {"fmaPeak", guarded<fma_peak>}};
  for (const auto& [name, function] : functions) {
    napi_value value;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value) != napi_ok ||
        napi_set_named_property(env, exports, name, value) != napi_ok)
      return nullptr;
  }
  return exports;
}
