#!/bin/sh
# Builds the adapter into the folder $1 and leaves there `run`, which starts it.
#
# Where WasmEdge's headers are installed, that WasmEdge is used. Elsewhere Debian's packages are fetched as files
# from the mirror that this machine's apt already uses, with apt's own check of signatures, and unpacked beside
# the adapter: they need a newer C library than Debian 12 has, so the adapter runs under the loader they bring.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
compile() { ${CXX:-g++} -std=c++17 -O1 -Wall -Wextra -o "$out/adapter" "$here/wasmedge.cpp" "$@"; }

if echo '#include <wasmedge/wasmedge.h>' | ${CXX:-g++} -E -x c++ - >/dev/null 2>&1; then
  compile -lwasmedge
  ln -sf adapter "$out/run"
  exit
fi

root=$out/../wasmedge-debian-13 # kept for later builds
if [ ! -d "$root" ]; then
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
  test -n "$mirror" || { echo "apt knows no Debian mirror: install WasmEdge and its headers" >&2; exit 1; }
  apt=$out/apt
  mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/root"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"
  own_apt() {
    apt-get -q -y -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
      -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
      -o APT::Sandbox::User= -o APT::Install-Recommends=false -o Debug::NoLocking=true "$@"
  }
  own_apt update
  own_apt --download-only install libwasmedge-dev
  for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$apt/root"; done
  mv "$apt/root" "$root"
  rm -rf "$apt"
fi
root=$(cd "$root" && pwd)

libraries=$(dirname "$(find "$root/usr/lib" -name libwasmedge.so)")
compile -I"$root/usr/include" -L"$libraries" -lwasmedge -Wl,--allow-shlib-undefined
loader=$(find "$root/usr" -name 'ld-linux*.so.*' | head -n 1)
printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libraries" "$out/adapter" >"$out/run"
chmod +x "$out/run"
