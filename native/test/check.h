// CHECK counts what holds and prints what does not; a program ends with `return summary();`.
#pragma once

#include <cstdio>

namespace vgg {

struct Checks {
  int passed = 0, failed = 0;
};
inline Checks checks;

// The exit code.
inline int summary() {
  std::printf("%d passed, %d failed\n", checks.passed, checks.failed);
  return checks.failed == 0 ? 0 : 1;
}

}  // namespace vgg

#define CHECK(condition, ...)                                             \
  do {                                                                    \
    if (condition) {                                                      \
      ++vgg::checks.passed;                                               \
    } else {                                                              \
      ++vgg::checks.failed;                                               \
      std::printf("%s:%d: not so: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                           \
      std::printf("\n");                                                  \
    }                                                                     \
  } while (false)
