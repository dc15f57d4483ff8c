#!/usr/bin/env bash
# The programs that tests drive: curl, rclone, s3cmd, s3fs, bindfs and fuse3; Dovecot; chromium; npm, for what the browser
# tests load; promtool; nginx; valgrind; systemd-analyze.
# Installs what is missing when run as root, says what to install otherwise. With CI set, missing programs are an error:
# CI must not skip tests silently. With arguments: of these packages only; some are installed only when they are named
# (what loadtests/bench_compare.py measures beside tierproxy).
set -euo pipefail

wanted=("$@")

declare -A package_of=([curl]=curl [rclone]=rclone [s3cmd]=s3cmd [s3fs]=s3fs [fusermount3]=fuse3 [bindfs]=bindfs
  [chromium]=chromium [npm]=npm [promtool]=prometheus
  [/usr/sbin/dovecot]=dovecot-core [/usr/lib/dovecot/imap]=dovecot-imapd [/usr/lib/dovecot/lmtp]=dovecot-lmtpd
  [/usr/lib/dovecot/pop3]=dovecot-pop3d
  [systemd-analyze]=systemd
  [valgrind]=valgrind [/usr/sbin/nginx]=nginx-light [/usr/sbin/varnishd]=varnish [redis-server]=redis-server [wrk]=wrk)
only_named=(varnish redis-server wrk)
policy=/usr/sbin/policy-rc.d

asked_for() {
  if [ "${#wanted[@]}" -eq 0 ]; then
    [[ " ${only_named[*]} " != *" $1 "* ]]
  else
    [[ " ${wanted[*]} " == *" $1 "* ]]
  fi
}

missing() {
  local program
  for program in "${!package_of[@]}"; do
    asked_for "${package_of[$program]}" || continue
    command -v "$program" > /dev/null || printf '%s\n' "${package_of[$program]}"
  done | sort
}

# Debian's package prometheus starts a server where systemd runs. Only its promtool is wanted, which needs nothing else, and
# is a package of its own from Debian 13 on.
install_promtool() {
  local directory status=0
  if apt-cache show promtool > /dev/null 2>&1; then
    apt-get install -y -qq --no-install-recommends promtool > /dev/null
    return
  fi
  directory=$(mktemp -d)
  chmod 755 "$directory"
  (cd "$directory" && apt-get download -qq prometheus > /dev/null 2>&1 && dpkg-deb --extract prometheus_*.deb . \
    && install -m 755 usr/bin/promtool /usr/local/bin/promtool) || status=$?
  rm -rf "$directory"
  return "$status"
}

# Debian's packages start their servers, now and with the machine. Tests start servers of their own.
without_services() {
  local ours=0 status=0
  if [ ! -e "$policy" ]; then
    ours=1
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
  fi
  "$@" || status=$?
  if [ "$ours" -eq 1 ]; then
    rm -f "$policy"
    trap - EXIT
  fi
  return "$status"
}

leave_off() {
  command -v systemctl > /dev/null || return 0
  systemctl disable --quiet "$@" 2> /dev/null || true
}

install_all() {
  local others=()
  local package
  for package in "${packages[@]}"; do
    [ "$package" = prometheus ] || others+=("$package")
  done
  [ "${#others[@]}" -eq 0 ] \
    || without_services apt-get install -y -qq --no-install-recommends "${others[@]}" > /dev/null || return 1
  [[ " ${others[*]} " != *" dovecot-core "* ]] || leave_off dovecot.service dovecot.socket
  [[ " ${others[*]} " != *" nginx-light "* ]] || leave_off nginx.service
  [[ " ${others[*]} " != *" varnish "* ]] || leave_off varnish.service varnishncsa.service
  [[ " ${others[*]} " != *" redis-server "* ]] || leave_off redis-server.service
  [ "${#others[@]}" -eq "${#packages[@]}" ] || install_promtool
}

mapfile -t packages < <(missing)
[ "${#packages[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  echo "installing Debian packages: ${packages[*]}"
  if ! install_all 2> /dev/null; then
    apt-get update -qq  # the lists are missing or too old
    install_all
  fi
  mapfile -t packages < <(missing)
  [ "${#packages[@]}" -gt 0 ] || exit 0
fi

echo "missing for the tests of real clients, Dovecot, browsers and alerts: ${packages[*]}" >&2
echo "as root, on Debian or Ubuntu: apt-get install ${packages[*]}" >&2
if [ "${CI:-}" = true ]; then
  exit 1
fi
echo "without them these tests are skipped" >&2
