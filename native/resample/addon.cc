// The Node-API face of vgg::resample: one function for each instruction set that this machine has,
// the widest first, under its name.
//
//     avx512(pixels, x, y, crop, result)
//
// and beside them, but not enumerable, where the C library is glibc, trim(): it gives memory that
// is free back to the system. glibc keeps what was freed in the middle of its heaps, of which each
// thread has one; JavaScript has no way to it.
//
// It is loaded into the process of the server and its threads, so nothing that JavaScript hands
// over may bring it down: every argument is checked, and a wrong one is a TypeError.
#include <node_api.h>

#include <cstdint>
#include <limits>
#include <new>
#include <stdexcept>

#if defined(__GLIBC__)  // Which the headers above say.
#include <malloc.h>
#endif

#include "resample.h"

namespace {

struct Choice {
  const vgg::ResampleKernels* kernels;
  bool (*is_here)();
};

const Choice choices[] = {
#if defined(__x86_64__)
    {&vgg::avx512_resample_kernels,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
     }},
    {&vgg::avx2_resample_kernels,
     [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
    {&vgg::plain_resample_kernels, [] { return true; }},
};

// JavaScript may have thrown already; then this is not what is thrown.
void check(bool is_sound, const char* what) {
  if (!is_sound) throw std::invalid_argument(what);
}

int32_t integer(napi_env env, napi_value value) {
  double number = 0;
  check(napi_get_value_double(env, value, &number) == napi_ok, "a size is not a number");
  check(number >= 0 && number <= std::numeric_limits<int32_t>::max() &&
            number == static_cast<double>(static_cast<int32_t>(number)),
        "a size is not a whole number of 31 bits");
  return static_cast<int32_t>(number);
}

vgg::Axis axis(napi_env env, napi_value object) {
  const auto field = [&](const char* name) {
    napi_value value;
    check(napi_get_named_property(env, object, name, &value) == napi_ok, "an axis is not an Axis");
    return integer(env, value);
  };
  return {field("source"), field("resized"), field("start"), field("count"), field("offset")};
}

struct Bytes {
  uint8_t* data;
  size_t length;
};

Bytes bytes(napi_env env, napi_value value) {
  bool is_typed_array = false;
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  const bool is_sound =
      napi_is_typedarray(env, value, &is_typed_array) == napi_ok && is_typed_array &&
      napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) == napi_ok &&
      type == napi_uint8_array;
  check(is_sound, "pixels are not a Uint8Array");
  return {static_cast<uint8_t*>(data), length};
}

bool is_size_of(size_t length, int64_t width, int64_t height) {
  int64_t expected = 0;
  return !__builtin_mul_overflow(width * 3, height, &expected) &&
         length == static_cast<uint64_t>(expected);
}

void resample(napi_env env, napi_callback_info info) {
  size_t given = 5;
  napi_value arguments[5];
  void* kernels = nullptr;
  check(napi_get_cb_info(env, info, &given, arguments, nullptr, &kernels) == napi_ok, "no call");
  const vgg::Axis x = axis(env, arguments[1]);
  const vgg::Axis y = axis(env, arguments[2]);
  const int32_t crop = integer(env, arguments[3]);
  // Last, because the fields above may be getters, which could take an array's memory away.
  const Bytes pixels = bytes(env, arguments[0]);
  const Bytes result = bytes(env, arguments[4]);
  check(is_size_of(pixels.length, x.source, y.source), "pixels are not [height, width, 3]");
  check(is_size_of(result.length, crop, crop), "the result is not [crop, crop, 3]");
  check(result.data + result.length <= pixels.data || pixels.data + pixels.length <= result.data,
        "the result overlaps the pixels");
  vgg::resample(*static_cast<const vgg::ResampleKernels*>(kernels), pixels.data, x, y, crop,
                result.data);
}

napi_value guarded(napi_env env, napi_callback_info info) {
  const auto fail = [env](napi_status (*raise)(napi_env, const char*, const char*),
                          const char* what) {
    bool is_pending = false;
    if (napi_is_exception_pending(env, &is_pending) == napi_ok && !is_pending)
      raise(env, nullptr, what);
  };
  try {
    resample(env, info);
  } catch (const std::invalid_argument& error) {
    fail(napi_throw_type_error, error.what());
  } catch (const std::bad_alloc&) {
    fail(napi_throw_error, "there is not enough memory to resample the picture");
  } catch (...) {
    fail(napi_throw_error, "the picture cannot be resampled");
  }
  return nullptr;
}

#if defined(__GLIBC__)
// Left to itself glibc comes to take blocks of up to 32 MB from the heap of the thread, and keeps up
// to 64 MB free at the end of each heap, which malloc_trim does not touch. From this size on a block
// has pages of its own, which go back when it is freed; those of a picture of up to half a million
// pixels are smaller, and as fast as ever.
constexpr int mostInHeaps = 4 << 20;

void keep_little() {
  mallopt(M_MMAP_THRESHOLD, mostInHeaps);
  mallopt(M_TRIM_THRESHOLD, mostInHeaps);
}

napi_value trim(napi_env, napi_callback_info) {
  malloc_trim(0);
  return nullptr;
}
#endif

}  // namespace

NAPI_MODULE_INIT() {
#if defined(__GLIBC__)
  keep_little();
  const napi_property_descriptor property = {"trim",  nullptr, trim,         nullptr,
                                             nullptr, nullptr, napi_default, nullptr};
  if (napi_define_properties(env, exports, 1, &property) != napi_ok) return nullptr;
#endif
  for (const auto& [kernels, is_here] : choices) {
    if (!is_here()) continue;
    napi_value function;
    if (napi_create_function(env, kernels->isa, NAPI_AUTO_LENGTH, guarded,
                             const_cast<vgg::ResampleKernels*>(kernels), &function) != napi_ok ||
        napi_set_named_property(env, exports, kernels->isa, function) != napi_ok)
      return nullptr;
  }
  return exports;
}
