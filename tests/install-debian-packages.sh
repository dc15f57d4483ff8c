#!/usr/bin/env bash
# The programs that tests drive: curl, rclone, s3cmd, s3fs and fuse3; chromium; npm, for what the browser tests load; promtool.
# Installs what is missing when run as root, says what to install otherwise. With CI set, missing programs are an error:
# CI must not skip tests silently.
set -euo pipefail

declare -A package_of=([curl]=curl [rclone]=rclone [s3cmd]=s3cmd [s3fs]=s3fs [fusermount3]=fuse3 [chromium]=chromium
  [npm]=npm [promtool]=prometheus)

missing() {
  local program
  for program in "${!package_of[@]}"; do
    command -v "$program" > /dev/null || printf '%s\n' "${package_of[$program]}"
  done | sort
}

# Debian's package prometheus starts a server where systemd runs. Only its promtool is wanted, which needs nothing else.
install_promtool() {
  local directory status=0
  directory=$(mktemp -d)
  chmod 755 "$directory"
  (cd "$directory" && apt-get download -qq prometheus > /dev/null 2>&1 && dpkg-deb --extract prometheus_*.deb . \
    && install -m 755 usr/bin/promtool /usr/local/bin/promtool) || status=$?
  rm -rf "$directory"
  return "$status"
}

install_all() {
  local others=()
  local package
  for package in "${packages[@]}"; do
    [ "$package" = prometheus ] || others+=("$package")
  done
  [ "${#others[@]}" -eq 0 ] || apt-get install -y -qq --no-install-recommends "${others[@]}" > /dev/null || return 1
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

echo "missing for the tests of real clients, browsers and alerts: ${packages[*]}" >&2
echo "as root, on Debian or Ubuntu: apt-get install ${packages[*]}" >&2
if [ "${CI:-}" = true ]; then
  exit 1
fi
echo "without them these tests are skipped" >&2
