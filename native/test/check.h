// What a test program counts, and says at its end.
#pragma once

#include <cstdio>

namespace vgg {

inline int passed = 0, failed = 0;

#define CHECK(condition, ...)                                             \
  do {                                                                    \
    if (condition) {                                                      \
      ++passed;                                                           \
    } else {                                                              \
      ++failed;                                                           \
      std::printf("%s:%d: not so: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                           \
      std::printf("\n");                                                  \
    }                                                                     \
  } while (false)

// The program's exit code.
inline int summary() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace vgg
