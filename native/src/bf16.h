// bfloat16, the upper half of a float32: its range, and eight bits of precision. Its maps, as
// bf16_kernels.h lays them out.
#pragma once

#include <cstdint>
#include <cstring>

#include "bf16_kernels.h"
#include "layers.h"
#include "memory.h"

namespace vgg {

// To the nearest, ties to even; NaN stays NaN.
inline bfloat16 to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<bfloat16>(bits >> 16 | 0x40);
  return static_cast<bfloat16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float from_bfloat16(bfloat16 half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// An aligned array of zeros.
class Bfloat16s {
 public:
  Bfloat16s() = default;
  explicit Bfloat16s(size_t count) : floats_(count / 2 + 1) {}
  bfloat16* data() { return reinterpret_cast<bfloat16*>(floats_.data()); }
  const bfloat16* data() const { return reinterpret_cast<const bfloat16*>(floats_.data()); }
  bool empty() const { return floats_.size() == 0; }

 private:
  Floats floats_;
};

// Where the numbers of a batch lie, counted in numbers.
struct Bf16Layout {
  MapShape shape;
  bool is_vector = false;  // of shape.channels features
  int pictures = 1;        // of the whole array

  int blocks() const { return (shape.channels + bf16_block - 1) / bf16_block; }
  int row() const { return shape.width + 1; }
  long pixels() const { return is_vector ? pictures : (shape.height + 2L) * row() + 1; }
  long block_stride() const { return pixels() * bf16_block; }
  long picture_stride() const { return is_vector ? bf16_block : blocks() * block_stride(); }
  long pixel(int y, int x) const { return is_vector ? 0 : ((y + 1L) * row() + x + 1) * bf16_block; }
  size_t size() const {
    return product({blocks(), pixels(), bf16_block, is_vector ? 1 : pictures});
  }

  // One block of channels; `map` is where the picture begins. What lies above and below it, and to
  // the left of the first row:
  void clear_above(bfloat16* map, int block) const { clear(map, block, 0); }
  void clear_below(bfloat16* map, int block) const {
    clear(map, block, (shape.height + 1L) * row());
  }
  // All that is around it.
  void clear_border(bfloat16* map, int block) const {
    clear_above(map, block);
    clear_below(map, block);
    for (int y = 0; y + 1 < shape.height; ++y)
      std::memset(map + block * block_stride() + pixel(y, shape.width), 0,
                  bf16_block * sizeof(bfloat16));
  }

 private:
  void clear(bfloat16* map, int block, long first) const {
    std::memset(map + block * block_stride() + first * bf16_block, 0,
                (row() + 1L) * bf16_block * sizeof(bfloat16));
  }
};

}  // namespace vgg
