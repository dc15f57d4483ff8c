#!/usr/bin/env bash
# `make test` of this checkout on a Debian 13 (trixie) with all that is its own: Python, SQLite, Dovecot, the clients, Chromium.
# The directory $1 is its root, made when missing; the checkout's files are copied to $1/src; $2 are ARGS of `make test`. Needs
# root, the Debian mirror that apt is set up with and the index that pip ($PIP) is set up with. No service is started, and
# what is mounted on the way is mounted for this process alone.
set -euo pipefail

# shellcheck source=tests/debian.sh
source "$(dirname "$0")/debian.sh"
root=$(realpath -m "$1")
arguments=${2:-}
bundle=/etc/ssl/certs/ca-certificates.crt

cannot() {
  echo "no Debian 13 in $root: $1" >&2
  exit 1
}

# What is in the working tree and not ignored; what was installed there before stays.
copy_checkout() {
  local names
  names=$(mktemp)
  mkdir -p "$root/src"
  find "$root/src" -mindepth 1 -maxdepth 1 ! -name .venv ! -name var -exec rm -rf {} +
  git -c safe.directory='*' ls-files -z --cached --others --exclude-standard > "$names"
  tar --create --null --files-from "$names" --ignore-failed-read --warning=no-failed-read | tar --extract --directory "$root/src"
  rm "$names"
}

# What lets pip and the clients of this machine out lets those of the other one out, too.
lend_ways_out() {
  local place
  pip_settings > "$root/etc/pip.conf"
  [ ! -e "$bundle" ] || cp "$bundle" "$root$bundle"
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
  for place in $(pip_places "$root/etc/pip.conf"); do
    mkdir -p "$root$place"
    mount --bind -o ro "$place" "$root$place"
  done
}

[ "$(id -u)" -eq 0 ] || cannot "only root can make it (sudo make test-debian13)"
command -v apt-get > /dev/null || cannot "it is made with Debian's debootstrap and apt"
command -v git > /dev/null || cannot "git says which files are the checkout's"
[ "${ALONE:-}" = yes ] || ALONE=yes exec unshare --mount --propagation private "$0" "$@"

if [ ! -x "$root/usr/bin/python3" ]; then
  need debootstrap debian-archive-keyring
  [ -n "$(mirror)" ] || cannot "apt knows no Debian mirror"
  echo "making $root: Debian trixie with python3"
  mkdir -p "$(dirname "$root")"
  rm -rf --one-file-system "$root" "$root.unfinished"
  bootstrap trixie python3,python3-venv,make,git,curl,ca-certificates,e2fsprogs "$root.unfinished" > "$root.log" 2>&1 \
    || { tail -n 5 "$root.log" >&2; cannot "see $root.log"; }
  mv "$root.unfinished" "$root"
fi

mount --bind "$root" "$root"  # for tests that make mounts private from / on
copy_checkout
take_proxy
lend_ways_out
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
# shellcheck disable=SC2016
exec chroot "$root" env --ignore-environment HOME=/root LANG=C.UTF-8 CI=true ${http_proxy:+"http_proxy=$http_proxy"} \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  sh -c 'cd /src && python3 --version && exec make --no-print-directory test "ARGS=$1"' sh "$arguments"
