// Aligned arrays of floats whose sizes are checked.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace vgg {

// Throws std::bad_alloc for what no memory could hold, so that a product of sizes from outside
// never wraps around.
inline size_t product(std::initializer_list<long> factors) {
  size_t result = 1;
  for (const long factor : factors) {
    if (factor < 0 || __builtin_mul_overflow(result, static_cast<size_t>(factor), &result))
      throw std::bad_alloc();
  }
  if (result > SIZE_MAX / 16) throw std::bad_alloc();
  return result;
}

class Floats {
 public:
  Floats() = default;
  // Zeros; aligned for any vector, and to huge pages where it is large: a run walks through all of
  // the weights.
  explicit Floats(size_t count) {
    constexpr size_t huge_page = size_t{2} << 20;
    if (count > SIZE_MAX / 16) throw std::bad_alloc();
    const size_t bytes = count * sizeof(float);
    const size_t alignment = bytes >= 2 * huge_page ? huge_page : 64;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    data_ = static_cast<float*>(std::aligned_alloc(alignment, rounded > 0 ? rounded : alignment));
    if (data_ == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    if (alignment == huge_page) madvise(data_, rounded, MADV_HUGEPAGE);
#endif
    std::memset(data_, 0, bytes);
    size_ = count;
  }
  Floats(Floats&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
  }
  Floats& operator=(Floats&& other) noexcept {
    if (this != &other) {
      std::free(data_);
      data_ = other.data_;
      size_ = other.size_;
      other.data_ = nullptr;
    }
    return *this;
  }
  ~Floats() { std::free(data_); }

  float* data() { return data_; }
  const float* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  float* data_ = nullptr;
  size_t size_ = 0;
};

// One number of a checkpoint, at any address.
inline float read_float(const uint8_t* from, size_t index) {
  float value;
  std::memcpy(&value, from + index * sizeof(float), sizeof(float));
  return value;
}

}  // namespace vgg
