#!/bin/sh
# Makes native/prebuilt/linux-x64/*.node, which runs wherever Node itself does: glibc 2.28 or newer, no other library.
#     npm run build:prebuilt
#
# The compiler is this machine's (CXX, or g++), so that the kernels are those of a build on this machine. The C and C++
# libraries are an older Debian's: its packages are unpacked beside the result, and asked for by --sysroot. No rights are
# needed. libgcc.a stays the compiler's own: it holds what the compiler reads to tell processors apart.
set -eu
release=bullseye gcc=10
packages="libc6 libc6-dev linux-libc-dev libgcc-$gcc-dev libstdc++-$gcc-dev"

mkdir -p "$(dirname "$0")/prebuilt"
cd "$(dirname "$0")/prebuilt"

give_up() {
  echo "prebuilt: $1" >&2
  exit 1
}

[ "$(uname -sm)" = 'Linux x86_64' ] || give_up "it is made on Linux on x86-64, and this is $(uname -sm)"

# fetch_base FOLDER: from the mirror that this machine's apt uses, checked by Debian's keys.
fetch_base() {
  for tool in apt-get dpkg-deb; do
    command -v $tool >/dev/null || give_up "no $tool: it is made on a Debian"
  done
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -f $keys ] || give_up "no $keys (apt-get install debian-archive-keyring)"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
  [ -n "$mirror" ] || give_up 'apt knows no mirror of Debian: apt-get update'

  apt=$PWD/$1/apt
  mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
  : >"$apt/status"
  echo "deb [signed-by=$keys] $mirror $release main" >"$apt/sources.list"
  apt_get() {
    apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
      -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
      -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User= "$@"
  }
  apt_get update
  (cd "$apt" && apt_get download $packages)
  for file in "$apt"/*.deb; do dpkg-deb -x "$file" "$1"; done
  rm -r "$apt"
  # Links to /lib/... would lead to this machine's libraries.
  find "$1" -type l -lname '/*' | while read -r link; do
    ln -sfn "$(realpath -s --relative-to="$(dirname "$link")" "$1$(readlink "$link")")" "$link"
  done
  # Those of gcc's libraries that must be of the same age as the C library.
  mkdir "$1/link"
  for file in libstdc++.a libgcc_eh.a; do
    ln -s "../usr/lib/gcc/x86_64-linux-gnu/$gcc/$file" "$1/link/$file"
  done
}

base=$release
if [ ! -d $base ]; then
  rm -rf unfinished
  fetch_base unfinished
  mv unfinished $base
fi

CXX="${CXX:-g++} --sysroot=$base -nostdinc++ -isystem $base/usr/include/c++/$gcc
  -isystem $base/usr/include/x86_64-linux-gnu/c++/$gcc -L$base/link -L$base/lib/x86_64-linux-gnu
  -L$base/usr/lib/x86_64-linux-gnu -static-libstdc++ -static-libgcc -s"
CXX=$(echo $CXX) exec env -u CPATH -u CPLUS_INCLUDE_PATH -u LIBRARY_PATH node ../build.mjs --require --into linux-x64
