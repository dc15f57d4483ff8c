#!/usr/bin/env bash
# Make the directory $1 the root of a Debian 13 (trixie) with its Dovecot 2.4, if it is not there yet; once it is there it
# stays as it is. Needs root and the Debian mirror that apt is set up with. No service is started. Where it cannot be made
# this says why, and the tests are skipped; with CI set that is an error.
set -euo pipefail
# shellcheck source=tests/debian.sh
source "$(dirname "$0")/../debian.sh"

root=$(realpath -m "$1")
packages="dovecot-core dovecot-imapd dovecot-lmtpd dovecot-pop3d"
export DEBIAN_FRONTEND=noninteractive

cannot() {
  echo "no Dovecot 2.4 in $root: $1" >&2
  [ "${CI:-}" != true ] || exit 1
  exit 0
}

# Linked by &&: where somebody asks how it went, set -e is off.
make_root() {
  local here=$1
  # shellcheck disable=SC2086
  bootstrap trixie ca-certificates "$here" \
    && printf '#!/bin/sh\nexit 101\n' > "$here/usr/sbin/policy-rc.d" \
    && chmod 755 "$here/usr/sbin/policy-rc.d" \
    && mount -t proc proc "$here/proc" \
    && chroot "$here" apt-get install -y -qq --no-install-recommends $packages \
    && chroot "$here" apt-get clean
}

[ ! -x "$root/usr/sbin/dovecot" ] || exit 0
[ "$(id -u)" -eq 0 ] || cannot "only root can make it (sudo make test-dovecot24)"
command -v apt-get > /dev/null || cannot "it is made with Debian's debootstrap and apt"
# What is mounted on the way is mounted for this process alone, and goes with it, however it ends.
[ "${ALONE:-}" = yes ] || ALONE=yes exec unshare --mount --propagation private "$0" "$@"

need debootstrap debian-archive-keyring
[ -n "$(mirror)" ] || cannot "apt knows no Debian mirror"

echo "making $root: Debian trixie with $packages"
mkdir -p "$(dirname "$root")"
rm -rf --one-file-system "$root" "$root.unfinished"
if ! make_root "$root.unfinished" > "$root.log" 2>&1; then
  tail -n 5 "$root.log" >&2
  cannot "see $root.log"
fi
umount "$root.unfinished/proc"
mv "$root.unfinished" "$root"
