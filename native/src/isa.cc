#include "isa.h"

#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace vgg {
namespace {

struct Choice {
  const Kernels* kernels;
  bool (*is_here)();
};

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("fma");
}
#endif

// Best first. GCC's test asks the operating system too, whether it saves the registers.
const Choice choices[] = {
#if defined(__x86_64__)
    {&avx512_kernels, has_avx512},
    {&avx2_kernels, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
#if defined(__aarch64__)
    {&neon_kernels, [] { return true; }},
#else
    {&baseline_kernels, [] { return true; }},
#endif
};

const Choice& choose(const std::string& isa) {
  std::string here;
  for (const Choice& choice : choices) {
    if (!choice.is_here()) continue;
    if (isa.empty() || isa == choice.kernels->isa) return choice;
    here += (here.empty() ? "" : ", ") + std::string(choice.kernels->isa);
  }
  if (isa == "amx" || isa == "avx512bf16") {
    throw std::runtime_error("the instruction set \"" + isa +
                             "\" is for the precision bf16 only; for others there are: " + here);
  }
  throw std::runtime_error("the instruction set \"" + isa +
                           "\" is not to be had here; there are: " + here);
}

// ---- bfloat16 ----

struct Bf16Choice {
  const char* isa;
  const Bf16Kernels* kernels;  // null where the compiler had not the instructions
  std::string (*what_lacks)();
};

#if defined(__x86_64__)
struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  Cpuid(unsigned leaf, unsigned subleaf) {
    if (__get_cpuid_max(0, nullptr) >= leaf) __cpuid_count(leaf, subleaf, eax, ebx, ecx, edx);
  }
};

bool has_bit(unsigned bits, int bit) { return (bits >> bit & 1) != 0; }

[[maybe_unused]] std::string lacking_avx512bf16() {
  if (!has_avx512()) return "the processor has no AVX-512";
  // Leaf 7 says how many subleaves it has.
  if (Cpuid(7, 0).eax < 1 || !has_bit(Cpuid(7, 1).eax, 5))
    return "the processor has no AVX512_BF16";
  return "";
}

// The registers that the operating system saves for a process.
unsigned long saved_states() {
  if (!has_bit(Cpuid(1, 0).ecx, 27)) return 0;  // OSXSAVE
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<unsigned long>(high) << 32 | low;
}

// Linux gives a process the tile registers when it asks for them: their 8 kB weigh on every switch
// between threads. Asking again does nothing.
std::string ask_for_tiles() {
  constexpr int request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int tile_data = 18;               // XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, request_permission, tile_data) == 0) return "";
  return std::string("the kernel refuses the tile registers (") + std::strerror(errno) + ")";
}

[[maybe_unused]] std::string lacking_amx() {
  const std::string lacking = lacking_avx512bf16();
  if (!lacking.empty()) return lacking;
  const unsigned features = Cpuid(7, 0).edx;
  if (!has_bit(features, 24) || !has_bit(features, 22)) return "the processor has no AMX";
  constexpr unsigned long tile_states = 3ul << 17;
  if ((saved_states() & tile_states) != tile_states)
    return "the operating system does not save AMX's tile registers";
  return ask_for_tiles();
}
#endif

const Bf16Choice bf16_choices[] = {
#if defined(VGG_HAS_AMX)
    {"amx", &amx_kernels, lacking_amx},
#else
    {"amx", nullptr, nullptr},
#endif
#if defined(VGG_HAS_AVX512BF16)
    {"avx512bf16", &avx512bf16_kernels, lacking_avx512bf16},
#else
    {"avx512bf16", nullptr, nullptr},
#endif
};

std::string what_lacks(const Bf16Choice& choice) {
#if defined(__x86_64__)
  if (!choice.kernels) return "the compiler that built the engine has not these instructions";
  return choice.what_lacks();
#else
  (void)choice;
  return "the processor is of another kind";
#endif
}

}  // namespace

const Kernels* choose_kernels(const std::string& isa) { return choose(isa).kernels; }

const Bf16Kernels* choose_bf16_kernels(const std::string& isa) {
  std::string reasons;
  for (const Bf16Choice& choice : bf16_choices) {
    if (!isa.empty() && isa != choice.isa) continue;
    const std::string lacking = what_lacks(choice);
    if (lacking.empty()) return choice.kernels;
    reasons += (reasons.empty() ? "" : "; ") + std::string("not by ") + choice.isa + ": " + lacking;
  }
  if (reasons.empty())
    reasons =
        "the instruction set \"" + isa + "\" has no kernels for it; there are: amx, avx512bf16";
  throw std::runtime_error("the precision bf16 does not run here (" + reasons +
                           "); take fp32 or bf16-classifier");
}

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::bf16: return "bf16";
    case Precision::bf16_classifier: return "bf16-classifier";
  }
  return "unknown";
}

std::string why_not(Precision precision, const std::string& isa) {
  try {
    if (precision == Precision::bf16)
      choose_bf16_kernels(isa);
    else
      choose_kernels(isa);
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

}  // namespace vgg
