#!/usr/bin/env bash
# The programs the client tests drive: curl, rclone, s3cmd, s3fs and fuse3. Installs what is missing when run as root,
# says what to install otherwise. With CI set, missing programs are an error: CI must not skip tests silently.
set -euo pipefail

declare -A package_of=([curl]=curl [rclone]=rclone [s3cmd]=s3cmd [s3fs]=s3fs [fusermount3]=fuse3)

missing() {
  local program
  for program in "${!package_of[@]}"; do
    command -v "$program" > /dev/null || printf '%s\n' "${package_of[$program]}"
  done | sort
}

mapfile -t packages < <(missing)
[ "${#packages[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  echo "installing Debian packages: ${packages[*]}"
  if ! apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null 2>&1; then
    apt-get update -qq  # the lists are missing or too old
    apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
  fi
  mapfile -t packages < <(missing)
  [ "${#packages[@]}" -gt 0 ] || exit 0
fi

echo "missing for the tests of real clients: ${packages[*]}" >&2
echo "as root, on Debian or Ubuntu: apt-get install ${packages[*]}" >&2
if [ "${CI:-}" = true ]; then
  exit 1
fi
echo "without them these tests are skipped" >&2
