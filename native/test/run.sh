#!/bin/sh
# Builds the core and its tests and runs them: plain, with AddressSanitizer and UBSan, with ThreadSanitizer.
#     native/test/run.sh [plain] [address] [thread] [bench]      (without a name: the first three)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$here/../src
compiler=${CXX:-g++}
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT

# build KIND "MAIN ..." FLAGS...: the kernels once for each instruction set, the rest, then each MAIN.cc with them.
build() {
  program=$1 mains=$2
  shift 2
  set -- -std=c++17 -ffp-contract=fast -Wall -Wextra -Werror -Wno-psabi -pthread "$@"
  mkdir -p "$objects/$program"
  kernels() {
    file=$1 isa=$2
    shift 2
    "$compiler" "$@" "-DVGG_ISA=$isa" -c "$source/$file.cc" -o "$objects/$program/$file-$isa.o"
  }
  avx512='-mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma'
  for file in kernels bf16_linear; do
    kernels $file baseline "$@"
    if [ "$(uname -m)" = x86_64 ]; then
      kernels $file avx2 "$@" -mavx2 -mfma
      kernels $file avx512 "$@" $avx512
    fi
  done
  if [ "$(uname -m)" = x86_64 ]; then
    kernels bf16_kernels avx512bf16 "$@" $avx512 -mavx512bf16
    kernels bf16_kernels amx "$@" $avx512 -mavx512bf16 -mamx-tile -mamx-bf16
    set -- "$@" -DVGG_HAS_AVX512BF16 -DVGG_HAS_AMX
  fi
  for file in bf16_engine bf16_layers bf16_pack engine isa layers pack plan team; do
    "$compiler" "$@" -c "$source/$file.cc" -o "$objects/$program/$file.o"
  done
  for main in $mains; do
    "$compiler" "$@" "$here/$main.cc" "$objects/$program"/*.o -o "$objects/$program/$main"
  done
}

# Nothing but the table may leave a kernel's object file, or code for one machine would reach another.
check_exports() {
  if nm --defined-only --extern-only "$objects/$1"/*kernels-*.o "$objects/$1"/*linear-*.o | grep ' [A-Z] ' |
    grep -v -E ' [DR] .*_(kernels|bf16_linear)E$' >&2; then
    echo 'a kernel object exports the symbols above' >&2
    exit 1
  fi
}

tests='core_test bf16_test'
[ $# -gt 0 ] || set -- plain address thread
for kind in "$@"; do
  echo "== $kind"
  case $kind in
    plain)
      build plain "$tests" -O3
      check_exports plain
      for main in $tests; do "$objects/plain/$main"; done
      ;;
    address)
      build address "$tests" -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
      for main in $tests; do "$objects/address/$main" quick; done
      ;;
    thread)
      build thread "$tests" -O1 -g -fsanitize=thread
      for main in $tests; do "$objects/thread/$main" quick; done
      ;;
    bench)
      build bench bench -O3
      "$objects/bench/bench"
      ;;
    *)
      echo "run.sh: there is no \"$kind\"" >&2
      exit 2
      ;;
  esac
done
