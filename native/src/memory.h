// Aligned arrays of floats whose sizes are checked.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>
#include <utility>
#include <vector>

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

constexpr size_t cache_line = 64, huge_page = size_t{2} << 20;  // bytes

class Floats {
 public:
  Floats() = default;
  // Zeros; aligned for any vector, and to huge pages where it is large.
  explicit Floats(size_t count) : size_(count) {
    if (count > SIZE_MAX / 16) throw std::bad_alloc();
    const size_t bytes = count * sizeof(float);
    const size_t alignment = bytes >= 2 * huge_page ? huge_page : cache_line;
    const size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    data_ = static_cast<float*>(std::aligned_alloc(alignment, rounded));
    if (data_ == nullptr) throw std::bad_alloc();
    is_owner_ = true;
#if defined(MADV_HUGEPAGE)
    if (alignment == huge_page) madvise(data_, rounded, MADV_HUGEPAGE);
#endif
    std::memset(data_, 0, bytes);
  }
  Floats(Floats&& other) noexcept { swap(other); }
  Floats& operator=(Floats&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Floats() {
    if (is_owner_) std::free(data_);
  }

  float* data() { return data_; }
  const float* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  friend class Arena;
  Floats(float* data, size_t size) : data_(data), size_(size) {}

  void swap(Floats& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(is_owner_, other.is_owner_);
  }

  float* data_ = nullptr;
  size_t size_ = 0;
  bool is_owner_ = false;
};

// Many arrays side by side in huge pages: a run walks through all of them, and with small pages it
// would wait for translations. Lives longer than its arrays. Memory is the process's from its first
// use on: what is made for large batches costs nothing while there are none.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    for (const Region& region : regions_) munmap(region.start, region.bytes);
  }

  // Zeros.
  Floats floats(size_t count) {
#if defined(__SANITIZE_ADDRESS__)
    return Floats(count);  // so that it sees where each ends
#else
    if (count > SIZE_MAX / 16) throw std::bad_alloc();
    const size_t bytes = (count * sizeof(float) + cache_line - 1) / cache_line * cache_line;
    if (bytes > left_) map(bytes);
    char* start = next_;
    next_ += bytes;
    left_ -= bytes;
    return Floats(reinterpret_cast<float*>(start), count);
#endif
  }

 private:
  struct Region {
    void* start;
    size_t bytes;
  };
  static constexpr size_t region_bytes = size_t{64} << 20;

  void map(size_t bytes) {
    const size_t rounded = (std::max(bytes, region_bytes) + 2 * huge_page) / huge_page * huge_page;
    regions_.reserve(regions_.size() + 1);
    void* start =
        mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) throw std::bad_alloc();
    regions_.push_back({start, rounded});
#if defined(MADV_HUGEPAGE)
    madvise(start, rounded, MADV_HUGEPAGE);
#endif
    const size_t before = reinterpret_cast<uintptr_t>(start) % huge_page;
    const size_t skipped = before > 0 ? huge_page - before : 0;
    next_ = static_cast<char*>(start) + skipped;
    left_ = rounded - skipped;
  }

  std::vector<Region> regions_;
  char* next_ = nullptr;
  size_t left_ = 0;
};

// One number of a checkpoint, at any address.
inline float read_float(const uint8_t* from, size_t index) {
  float value;
  std::memcpy(&value, from + index * sizeof(float), sizeof(float));
  return value;
}

}  // namespace vgg
