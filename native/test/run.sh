#!/bin/sh
# Builds the core and its tests (*_test.cc) and runs them: plain, with AddressSanitizer and UBSan, with ThreadSanitizer.
#     native/test/run.sh [plain] [address] [thread] [bench]      (without a name: the first three)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$here/../src
compiler=${CXX:-g++}
tests=$(cd "$here" && echo *_test.cc | sed s/resample_test.cc//)
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT

# build FOLDER "MAIN.cc ..." FLAGS...: the kernels once for each instruction set, then the rest, then a program of each main.
build() {
  program=$1 mains=$2
  shift 2
  set -- -std=c++17 -ffp-contract=fast -Wall -Wextra -Werror -Wno-psabi -pthread "$@"
  mkdir -p "$objects/$program"
  kernels() {
    isa=$1
    shift
    "$compiler" "$@" "-DVGG_ISA=$isa" -c "$source/kernels.cc" -o "$objects/$program/kernels-$isa.o"
  }
  kernels baseline "$@"
  if [ "$(uname -m)" = x86_64 ]; then
    kernels avx2 "$@" -mavx2 -mfma
    kernels avx512 "$@" -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma
  fi
  for file in engine isa layers pack plan team; do
    "$compiler" "$@" -c "$source/$file.cc" -o "$objects/$program/$file.o"
  done
  for main in $mains; do
    "$compiler" "$@" "$here/$main" "$objects/$program"/*.o -o "$objects/$program/${main%.cc}"
  done
}

# run FOLDER ARGUMENT...: every test, even after one that fails.
run() {
  program=$1 status=0
  shift
  for main in $tests; do
    echo "-- ${main%.cc}"
    "$objects/$program/${main%.cc}" "$@" || status=1
  done
  return $status
}

# build_resample PROGRAM FLAGS...: the same for the resample of pictures.
build_resample() {
  program=$1
  shift
  mkdir -p "$objects/$program"
  set -- -std=c++17 -ffp-contract=off -Wall -Wextra -Werror -Wno-psabi "$@"
  for kernels in "baseline" "avx2 -mavx2 -mfma" "avx512 -mavx512f -mavx512vl -mavx512bw -mavx512dq -mavx2 -mfma"; do
    isa=${kernels%% *}
    [ "$isa" = baseline ] || [ "$(uname -m)" = x86_64 ] || continue
    # shellcheck disable=SC2086
    "$compiler" "$@" ${kernels#"$isa"} "-DVGG_ISA=$isa" -c "$here/../resample/kernels.cc" -o "$objects/$program/kernels-$isa.o"
  done
  "$compiler" "$@" "$here/resample_test.cc" "$here/../resample/resample.cc" "$objects/$program"/*.o -o "$objects/$program/run"
}

# Nothing but the table may leave a kernel's object file, or code for one machine would reach another.
check_exports() {
  if nm --defined-only --extern-only "$objects/$1"/kernels-*.o | grep ' [A-Z] ' | grep -v ' [DR] .*_kernelsE$' >&2; then
    echo 'a kernel object exports the symbols above' >&2
    exit 1
  fi
}

[ $# -gt 0 ] || set -- plain address thread
for kind in "$@"; do
  echo "== $kind"
  case $kind in
    plain)
      build plain "$tests" -O3
      check_exports plain
      run plain
      build_resample resample -O3
      check_exports resample
      "$objects/resample/run"
      ;;
    address)
      build address "$tests" -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
      run address quick
      build_resample resample-address -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
      "$objects/resample-address/run"
      ;;
    thread)
      build thread "$tests" -O1 -g -fsanitize=thread
      run thread quick
      ;;
    bench)
      build bench bench.cc -O3
      "$objects/bench/bench"
      ;;
    *)
      echo "run.sh: there is no \"$kind\"" >&2
      exit 2
      ;;
  esac
done
