#!/bin/sh
# Builds the C++ part with its tests (*_test.cc) and runs them:
#     native/test/run.sh [short] [plain] [address] [thread] [neon] [bench]      without a name: plain address thread
#
# short    plain, address and thread, as `npm run check` runs them: of the last only what is about threads
# plain    every test
# address  AddressSanitizer and UBSan, `quick` tests
# thread   ThreadSanitizer, `quick` tests
# neon     for arm64 by a cross compiler, `quick` tests, under qemu-user where this machine is another
# bench    milliseconds a picture of VGG-16
#
# What a machine cannot run for want of a compiler is skipped, with a word about it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
native=$(dirname "$here")
tests=$(cd "$here" && echo *_test.cc)
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
at_once=$(($(getconf _NPROCESSORS_ONLN) + 1))
case $(uname -m) in
  x86_64) machine=x64 ;;
  aarch64) machine=arm64 ;;
  *) machine=none ;;
esac

# start COMMAND...: beside the others. finish: once all of them are done; the first failure ends the script.
jobs='' running=0
start() {
  [ $running -lt $at_once ] || finish
  "$@" &
  jobs="$jobs $!" running=$((running + 1))
}
finish() {
  for job in $jobs; do wait "$job"; done
  jobs='' running=0
}

# compile FOLDER FLAGS...: into $out. The rows of kernels.txt for $arch, by $kernel_flags too, and all other sources but the addons'.
compile() {
  folder=$1
  shift
  while read -r source its_arch isa own; do
    case $source in "$folder"/*) ;; *) continue ;; esac
    [ "$its_arch" = "$arch" ] || continue
    # shellcheck disable=SC2086
    start $compiler "$@" $kernel_flags $own "-DVGG_ISA=$isa" \
      -c "$native/$source" -o "$out/$folder-$(basename "$source" .cc)-$isa.o"
  done <"$native/kernels.txt"
  for source in "$native/$folder"/*.cc; do
    name=$(basename "$source")
    if [ "$name" = addon.cc ] || grep -q "^$folder/$name " "$native/kernels.txt"; then continue; fi
    # shellcheck disable=SC2086
    start $compiler "$@" $tables -c "$source" -o "$out/$folder-${name%.cc}.o"
  done
}

# build NAME "MAIN.cc ..." FLAGS...: a program of each main and everything else, in $out.
build() {
  out=$objects/$1 mains=$2
  shift 2
  set -- -std=c++17 -Wall -Wextra -Werror -Wno-psabi -pthread "$@"
  mkdir "$out"
  # What the tables of kernels hold, as build.mjs tells it.
  tables=$(awk -v arch="$arch" '!/^#/ && $2 == arch { print "-DVGG_HAS_" toupper($3) }' "$native/kernels.txt" | sort -u)
  compile src "$@" -ffp-contract=fast
  compile resample "$@" -ffp-contract=off
  finish
  for main in $mains; do
    # shellcheck disable=SC2086
    start $compiler "$@" $tables -ffp-contract=fast "$here/$main" "$out"/*.o -o "$out/${main%.cc}"
  done
  finish
}

# run ARGUMENT...: every test, beside each other, even where one fails; what they print comes in their order.
run() {
  for main in $tests; do
    program=$out/${main%.cc}
    { $emulator "$program" "$@" >"$program.log" 2>&1 || touch "$program.failed"; } &
  done
  wait
  status=0
  for main in $tests; do
    program=$out/${main%.cc}
    echo "-- ${main%.cc}"
    cat "$program.log"
    [ ! -e "$program.failed" ] || status=1
  done
  return $status
}

# Nothing but the table may leave a kernel's object file, or code for one machine would reach another.
check_exports() {
  for object in "$out"/*kernels-*.o; do
    if nm --defined-only --extern-only "$object" | grep -v -E ' [DR] _ZN3vgg[0-9]*[a-z0-9_]*_kernelsE$' >&2; then
      echo "$object exports the symbols above" >&2
      exit 1
    fi
  done
}

[ $# -gt 0 ] || set -- plain address thread
[ "$1" != short ] || set -- plain address threads
for kind in "$@"; do
  echo "== $kind"
  compiler=${CXX:-g++} arch=$machine emulator='' kernel_flags=''
  if [ "$kind" = neon ] && [ $machine != arm64 ]; then
    compiler=${CXX_ARM64:-aarch64-linux-gnu-g++} arch=arm64 emulator=${QEMU_ARM64:-qemu-aarch64}
  fi
  for program in "${compiler%% *}" $emulator; do
    command -v "$program" >/dev/null && continue
    echo "skipped: there is no $program (Debian: apt-get install g++; for neon g++-aarch64-linux-gnu qemu-user)"
    continue 2
  done
  case $kind in
    plain)
      build plain "$tests" -O3
      check_exports
      run
      ;;
    address)
      # What kernels keep in registers has no scope to be used after, and looking for it takes minutes to compile.
      kernel_flags='-fno-sanitize-address-use-after-scope -fno-sanitize=null,object-size'
      build address "$tests" -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
      run quick
      ;;
    thread)
      build thread "$tests" -O1 -g -fsanitize=thread
      run quick
      ;;
    threads)
      tests=core_test.cc
      build threads $tests -O1 -g -fsanitize=thread
      run threads
      ;;
    neon)
      build neon "$tests" -O3 -static
      run quick
      ;;
    bench)
      build bench bench.cc -O3
      "$out/bench"
      ;;
    *)
      echo "run.sh: there is no \"$kind\"" >&2
      exit 2
      ;;
  esac
done
