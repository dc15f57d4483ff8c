#!/usr/bin/env bash
# Build ./Dockerfile into layers below the directory $1, where there is neither a container engine nor a registry: with Debian's
# buildah, on a base of Debian bookworm and its own Python 3.11, made once (python:3.11-slim-bookworm is the same Debian with
# another Python 3.11). Needs root, the Debian mirror that apt is set up with and the index that pip ($PIP) is set up with.
set -euo pipefail

# shellcheck source=tests/debian.sh
source "$(dirname "$0")/../debian.sh"
root=$(realpath -m "$1")

cannot() {
  echo "no image: $1" >&2
  exit 1
}

layers() { buildah --root "$root/storage" --runroot "$root/run" --storage-driver vfs "$@"; }

# Linked by &&: where somebody asks how it went, set -e is off.
make_base() {
  local container
  rm -rf --one-file-system "$root/base" \
    && bootstrap bookworm python3,python3-venv,ca-certificates "$root/base" \
    && ln -s python3 "$root/base/usr/bin/python" \
    && container=$(layers from scratch) \
    && layers add --quiet "$container" "$root/base" / \
    && layers commit --quiet --rm "$container" tierproxy-base
}

# What pip is set up with, and the directories it takes packages from: for the build alone, nothing of it is in the image.
build() {
  local settings=(--volume "$root/pip.conf:/etc/pip.conf:ro" --volume /etc/ssl/certs:/etc/ssl/certs:ro) place
  pip_settings > "$root/pip.conf"
  for place in $(pip_places "$root/pip.conf"); do
    settings+=(--volume "$(realpath "$place"):$place:ro")
  done
  layers build --isolation chroot --network host --format docker --build-arg BASE=localhost/tierproxy-base \
    "${settings[@]}" --tag tierproxy .
}

[ "$(id -u)" -eq 0 ] || cannot "only root can make it (sudo make test-image)"
command -v apt-get > /dev/null || cannot "it is made with Debian's buildah and debootstrap"
need buildah debootstrap debian-archive-keyring
[ -n "$(mirror)" ] || cannot "apt knows no Debian mirror"

mkdir -p "$root"
if ! layers inspect --type image tierproxy-base > /dev/null 2>&1; then
  echo "making a base in $root: Debian bookworm with python3"
  make_base > "$root/base.log" 2>&1 || { tail -n 5 "$root/base.log" >&2; cannot "see $root/base.log"; }
fi
echo "building the image in $root"
build > "$root/build.log" 2>&1 || { tail -n 20 "$root/build.log" >&2; cannot "see $root/build.log"; }
