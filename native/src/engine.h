// Inference of VGG networks: the whole contract between the engine and the addon.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace vgg {

// One of torch's layers, in the order in which they run. Tensors are little-endian float32 in C
// order at any address, and are copied by Engine::create. `*_count` of a tensor's elements is not
// given: it follows from the sizes.
struct Layer {
  enum class Kind { conv, batchnorm, relu, lrn, maxpool, avgpool, flatten, linear };
  Kind kind;

  int in = 0;         // conv: channels; linear: features
  int out = 0;        // conv, batchnorm: channels; linear: features
  int kernel = 3;     // conv: 3 (padding 1) or 1 (padding 0); stride 1
  int padding = 1;    // conv
  int pool_h = 7;     // avgpool: rows of the output
  int pool_w = 7;     // avgpool: columns of the output
  double eps = 1e-5;  // batchnorm
  int lrn_size = 5;   // lrn: x / (k + alpha / size * sum of squares over `size` channels)^beta
  double lrn_alpha = 1e-4, lrn_beta = 0.75, lrn_k = 1.0;
  int tile = 0;  // conv, for tests and the bench: 2, 4 or 6 forces Winograd's F(tile x tile)

  const uint8_t* weight = nullptr;  // conv: [out, in, kernel, kernel]; linear: [out, in]
  const uint8_t* bias = nullptr;    // conv, linear: [out]; may be null
  const uint8_t* gamma = nullptr;   // batchnorm: torch's weight, [out]
  const uint8_t* beta = nullptr;    // batchnorm: torch's bias, [out]
  const uint8_t* mean = nullptr;    // batchnorm: running_mean, [out]
  const uint8_t* var = nullptr;     // batchnorm: running_var, [out]
};

// bf16: weights and maps in bfloat16, sums in float32. bf16_classifier: the linear layers' weights
// in bfloat16, all else in float32.
enum class Precision { fp32, bf16, bf16_classifier };

struct Spec {
  std::vector<Layer> layers;
  int input_size = 224;  // side of the square picture in pixels
  int classes = 1000;
  float mean[3] = {0.485f, 0.456f, 0.406f};
  float std[3] = {0.229f, 0.224f, 0.225f};
  int max_batch = 1;
  int threads = 1;
  Precision precision = Precision::fp32;
  // "avx512", "avx2", "neon", "baseline"; for bf16 "amx", "avx512bf16"; "" is the best that the machine has
  const char* isa = "";
  bool profile = false;  // whether times() is kept
  // Told of weights that Engine::create has copied and nobody reads again, on several threads.
  std::function<void(const uint8_t* from, size_t bytes)> forget;
};

class Engine {
 public:
  // Packs the weights. Throws std::runtime_error for a network that cannot be run, or an
  // instruction set or a precision that the machine lacks (the message says what was seen and what
  // is allowed), std::bad_alloc for want of memory.
  static std::unique_ptr<Engine> create(const Spec& spec);
  virtual ~Engine() = default;

  // pixels: [n, size, size, 3] RGB; logits: [n, classes]; 1 <= n <= max_batch (else
  // std::runtime_error). One call at a time. The same picture has the same logits, to the bit, in
  // every batch and with any number of threads.
  virtual void run(const uint8_t* pixels, int n, float* logits) = 0;

  virtual const char* isa() const = 0;
  // JSON: {"isa", "precision", "threads", "layers": [{"layer": index in Spec::layers, "kind",
  // "tile", ...}]}; a layer whose outputs are computed where the next one needs them has
  // "within_next".
  virtual std::string plan() const = 0;
  // JSON: [{"layer", "kind", "ms"}] of the last run, in the order of plan(): the time from one
  // step's end to the next one's, of all pictures together. What is computed within the next step
  // has none. Empty unless Spec::profile.
  virtual std::string times() const = 0;
};

}  // namespace vgg
